"""Training: one file per method, all on the one engine."""
