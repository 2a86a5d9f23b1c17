"""A reward model: a language model with a scalar head that scores whole conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from burnish.models.heads import ScalarHead, score_segments
from burnish.models.load import load_model, save_model
from burnish.rewards.likelihood import Pair, reply_units
from burnish.text.batches import batches


@dataclass(frozen=True)
class RewardModel:
    """Model, tokenizer and head; higher scores are better, differences are in logits."""

    model: Any
    tokenizer: Any
    head: ScalarHead

    @classmethod
    def load(cls, folder: Path | str, device: str = "auto") -> RewardModel:
        """Read what ``fit.reward`` or ``save`` wrote.

        Raises:
            InputError: not a model folder, or one without a scalar head.
        """
        loaded = load_model(folder, device)
        head = ScalarHead.load(Path(folder)).to(loaded.model.device).eval()
        return cls(loaded.model, loaded.tokenizer, head)

    def save(self, folder: Path | str, card: str | None = None) -> Path:
        """Write model, tokenizer and head as one sealed folder."""
        return save_model(self.model, self.tokenizer, folder, card, self.head)

    @torch.no_grad()
    def score(self, pairs: Sequence[Pair], tokens_per_batch: int = 4096) -> list[float]:
        """One score a (prompt messages, reply) pair, read after the reply's end token.

        A head with several outputs gives their first. The scores do not depend on how pairs are
        batched (up to rounding).
        """
        units = reply_units(self.tokenizer, pairs)
        device = next(self.model.parameters()).device
        scores = [0.0] * len(pairs)
        for chosen, batch in batches(units, tokens_per_batch, device):
            found = score_segments(self.model, self.head, batch)
            first = found if found.dim() == 1 else found[:, 0]
            for index, value in zip(chosen, first.tolist(), strict=True):
                scores[index] = float(value)
        return scores
