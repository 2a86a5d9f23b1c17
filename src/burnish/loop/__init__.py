"""The loop: parse and check a recipe, run it, go round, resume."""
