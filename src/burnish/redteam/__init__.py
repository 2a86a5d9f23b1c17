"""Attacks on a model's refusals: wordings, a search against the target, and what is counted."""
