"""Serving: models behind an OpenAI-compatible address, divided among users, with feedback."""
