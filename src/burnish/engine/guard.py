"""Stops: numbers that are not finite, and a held-out loss that no longer falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from burnish.config import BurnishError
from burnish.engine import ranks
from burnish.engine.optim import Trainable

NAMED_IDS = 8


class TrainingDiverged(BurnishError):
    """Loss, gradient or weights are not finite. Raised before anything is written with them."""


def check_finite(
    *,
    step: int,
    totals: Sequence[float],
    ids: Sequence[Sequence[str]],
    norm: float,
    learning_rate: float,
) -> None:
    """Check one window before its optimiser step.

    Args:
        step: number of the optimiser step about to be taken, from 1.
        totals: the summed loss of each micro-batch.
        ids: the record ids of each micro-batch.
        norm: the gradients' joint norm.
        learning_rate: for the message.

    Raises:
        TrainingDiverged: names what is not finite, the step and the records.
    """
    bad = [index for index, total in enumerate(totals) if not math.isfinite(total)]
    if not bad and math.isfinite(norm):
        return
    what = f"the loss is {totals[bad[0]]}" if bad else f"the norm of the gradient is {norm}"
    records = [name for index in bad or range(len(ids)) for name in ids[index]]
    shown = ", ".join(records[:NAMED_IDS])
    if len(records) > NAMED_IDS:
        shown += f" and {len(records) - NAMED_IDS} more"
    raise TrainingDiverged(
        f"step {step}: {what} at learning rate {learning_rate:g}; the step was not taken. "
        f"Records of this batch: {shown}. A lower learning_rate or clip_norm usually helps; "
        "otherwise look at these records."
    )


def check_weights(trainable: Trainable, step: int) -> None:
    """Refuse to save weights that are not finite (an absurd learning rate can make them so)."""
    names = list(trainable)
    if not names:
        return
    broken = torch.stack([~torch.isfinite(p.detach()).all() for p in trainable.values()])
    found = ranks.summed(broken.int()).tolist()
    bad = [name for name, processes in zip(names, found, strict=True) if processes]
    if bad:
        raise TrainingDiverged(
            f"step {step}: the weights {', '.join(bad[:3])} are not finite; nothing was saved"
        )


@dataclass
class Patience:
    """Early stopping: remembers the best held-out loss and how long ago it was."""

    limit: int
    best: float = math.inf
    waited: int = 0

    def improved(self, loss: float) -> bool:
        """Take one evaluation; True where it is a new best."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """True where ``limit`` evaluations in a row brought no new best."""
        return 0 < self.limit <= self.waited
