"""``models``: registered models, where they came from, and which one is in use."""
