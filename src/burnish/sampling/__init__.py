"""Sampling: prompts to completions with log-probabilities."""

from burnish.sampling.generate import Completion, generate
from burnish.sampling.settings import Sampling

__all__ = ["Completion", "Sampling", "generate"]
