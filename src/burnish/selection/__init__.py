"""Filters, duplicates, leaks, pairs, mixing and instruction prompts."""
