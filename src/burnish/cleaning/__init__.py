"""Cleaning of single documents: pure functions from a text to a text, or to why it goes."""
