"""Measure behaviour: tasks, perplexity, statistics, gate."""
