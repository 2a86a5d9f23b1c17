"""Completion to score: verifiers, refusals, scorers, reward model, constitution."""
