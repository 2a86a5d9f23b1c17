"""Forward and backward over the micro-batches of one window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.engine import ranks
from burnish.models.divided import compute
from burnish.objectives.types import Loss
from burnish.text.batches import Batch

LossFunction = Callable[[Any, Batch], Loss]


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


def accumulate(model: Any, loss: LossFunction, window: Sequence[Batch]) -> WindowSums:
    """Add the gradients of the summed losses of a window to ``.grad``, undivided.

    Of several processes each computes some of the micro-batches, and its gradients are of these;
    the sums are those of the whole window. Every process must give the same window.
    """
    blank = torch.zeros((), dtype=torch.float64, device=window[0].device)
    totals, counts = [blank] * len(window), [blank] * len(window)
    parts: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for place, counted in ranks.turns(len(window)):
        found = compute(model, loss, window[place])
        if not counted:
            found = _uncounted(found)
        if found.total.requires_grad:
            found.total.backward()  # type: ignore[no-untyped-call]
        if counted:
            totals[place] = found.total.detach().double()
            counts[place] = found.count.detach().double()
        for name, (value, over) in found.metrics.items():
            parts.setdefault(name, []).append((value.detach().double(), over.detach().double()))
    names = ranks.named(parts)
    none = [(blank, blank)]
    sums = [torch.stack([v for v, _ in parts.get(n, none)]).sum() for n in names]
    overs = [torch.stack([o for _, o in parts.get(n, none)]).sum() for n in names]
    # One exchange and one transfer for all numbers: on a GPU each would wait for the device. Every
    # micro-batch has its own places, so that adding the processes up only puts them together.
    shared = ranks.summed(torch.stack([*totals, *counts, *sums, *overs]))
    targets = torch.stack([batch.targets.sum() for batch in window]).sum().double()
    *numbers, trained = torch.cat([shared, targets[None]]).tolist()
    size, rest = len(window), numbers[2 * len(window) :]
    pairs = zip(names, rest[: len(names)], rest[len(names) :], strict=True)
    return WindowSums(
        totals=numbers[:size],
        count=sum(numbers[size : 2 * size]),
        metrics={name: value / over if over else 0.0 for name, value, over in pairs},
        tokens=sum(sum(batch.lengths) for batch in window),
        targets=int(trained),
    )


def _uncounted(found: Loss) -> Loss:
    """The loss of a micro-batch that another process counts: no gradient, no numbers."""
    metrics = {name: (value * 0, over * 0) for name, (value, over) in found.metrics.items()}
    return Loss(found.total * 0, found.count * 0, metrics)
