"""Data: candidates, preferences, critiques and revisions."""
