"""Forward and backward over the micro-batches of one window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.objectives.types import Loss
from burnish.text.batches import Batch


@dataclass(frozen=True)
class WindowSums:
    """Sums over one window; ``metrics`` and ``loss`` are already divided by their counts.

    ``totals`` has the summed loss of each micro-batch, ``count`` what the gradient is to be
    divided by, ``tokens`` how many the segments have (shared ones each time), ``targets`` how many
    carried loss.
    """

    totals: list[float]
    count: float
    metrics: dict[str, float]
    tokens: int
    targets: int

    @property
    def loss(self) -> float:
        """The window's loss, 0 where nothing carried loss."""
        return sum(self.totals) / self.count if self.count else 0.0


def accumulate(
    model: Any, loss: Callable[[Any, Batch], Loss], window: Sequence[Batch]
) -> WindowSums:
    """Add the gradients of the summed losses of a window to ``.grad``, undivided."""
    totals: list[Tensor] = []
    counts: list[Tensor] = []
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for batch in window:
        found = loss(model, batch)
        if found.total.requires_grad:
            found.total.backward()  # type: ignore[no-untyped-call]
        totals.append(found.total.detach().double())
        counts.append(found.count.detach().double())
        for name, (value, over) in found.metrics.items():
            parts.setdefault(name, []).append((value.detach().double(), over.detach().double()))
    names = list(parts)
    sums = [torch.stack([v for v, _ in parts[n]]).sum() for n in names]
    overs = [torch.stack([o for _, o in parts[n]]).sum() for n in names]
    targets = torch.stack([batch.targets.sum() for batch in window]).sum().double()
    # One transfer for all numbers: on a GPU each would wait for the device.
    numbers = torch.stack([*totals, *counts, targets, *sums, *overs]).tolist()
    size, rest = len(window), numbers[2 * len(window) + 1 :]
    pairs = zip(names, rest[: len(names)], rest[len(names) :], strict=True)
    return WindowSums(
        totals=numbers[:size],
        count=sum(numbers[size : 2 * size]),
        metrics={name: value / over if over else 0.0 for name, value, over in pairs},
        tokens=sum(sum(batch.lengths) for batch in window),
        targets=int(numbers[2 * size]),
    )
