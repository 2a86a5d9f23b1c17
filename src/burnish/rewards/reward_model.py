"""A reward model: a language model with a scalar head that scores whole conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from burnish.config import InputError, Problem
from burnish.models.heads import ScalarHead, score_segments
from burnish.models.load import load_model, save_model
from burnish.rewards.likelihood import Pair, reply_units
from burnish.text.batches import batches


@dataclass(frozen=True)
class RewardModel:
    """Model, tokenizer and head; higher scores are better, differences are in logits.

    ``weights`` are those of the head's outputs in ``score``, by name; one that is not named has
    weight 0. Without any, all have the same and their sum is 1.
    """

    model: Any
    tokenizer: Any
    head: ScalarHead
    weights: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def load(
        cls, folder: Path | str, device: str = "auto", weights: Mapping[str, float] | None = None
    ) -> RewardModel:
        """Read what ``fit.reward`` or ``save`` wrote.

        Raises:
            InputError: not a model folder, one without a scalar head, or ``weights`` name an
                output that the head does not have.
        """
        loaded = load_model(folder, device)
        head = ScalarHead.load(Path(folder)).to(loaded.model.device).eval()
        known = ", ".join(head.names)
        for name in weights or {}:
            if name not in head.names:
                found = f"this reward model has no objective {name!r}"
                raise InputError(Problem(str(folder), None, "objectives", found, f"one of {known}"))
        return cls(loaded.model, loaded.tokenizer, head, weights or {})

    def save(self, folder: Path | str, card: str | None = None) -> Path:
        """Write model, tokenizer and head as one sealed folder."""
        return save_model(self.model, self.tokenizer, folder, card, self.head)

    def score(self, pairs: Sequence[Pair], tokens_per_batch: int = 4096) -> list[float]:
        """One score a (prompt messages, reply) pair: the weighted sum of the head's outputs."""
        return [self.total(each) for each in self.score_each(pairs, tokens_per_batch)]

    def total(self, each: Mapping[str, float]) -> float:
        """The weighted sum of the head's outputs, given by name."""
        weights = self.weights or dict.fromkeys(each, 1 / len(each))
        return sum(weight * each[name] for name, weight in weights.items())

    @torch.no_grad()
    def score_each(
        self, pairs: Sequence[Pair], tokens_per_batch: int = 4096
    ) -> list[dict[str, float]]:
        """The head's outputs by name of each (prompt messages, reply) pair, read after the
        reply's end token. They do not depend on how pairs are batched (up to rounding).
        """
        units = reply_units(self.tokenizer, pairs)
        device = next(self.model.parameters()).device
        scores: list[dict[str, float]] = [{} for _ in pairs]
        for chosen, batch in batches(units, tokens_per_batch, device):
            found = score_segments(self.model, self.head, batch)
            rows = found.reshape(len(chosen), len(self.head.names)).tolist()
            for index, row in zip(chosen, rows, strict=True):
                scores[index] = dict(zip(self.head.names, row, strict=True))
        return scores
