"""The stages of a recipe: curate, fit, measure, release."""
