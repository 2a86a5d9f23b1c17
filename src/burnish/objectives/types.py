"""What an objective returns, and the check each objective makes on its first line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Metric = tuple[Tensor, Tensor]
Kind = Literal["float", "integer", "bool"]


@dataclass(frozen=True)
class Loss:
    """An undivided loss: ``total: []`` summed over ``count: []`` units (tokens, pairs, ...).

    ``metrics`` maps a name to (sum ``[]``, count ``[]``), detached. Sums and counts of several
    batches add up, so that one division over a whole window gives the mean of the full batch
    whatever the batches' sizes; only the engine divides.
    """

    total: Tensor
    count: Tensor
    metrics: Mapping[str, Metric] = field(default_factory=dict)

    def __add__(self, other: Loss) -> Loss:
        """The loss of both parts of a batch; a metric that both have adds up."""
        metrics = {**self.metrics, **other.metrics}
        for name in self.metrics.keys() & other.metrics.keys():
            (value, over), (more, further) = self.metrics[name], other.metrics[name]
            metrics[name] = value + more, over + further
        return Loss(self.total + other.total, self.count + other.count, metrics)


def check(
    shape: str, kind: Kind = "float", *, like: Tensor | None = None, **tensors: Tensor | None
) -> None:
    """Refuse tensors of another rank, size or kind than expected; ``None`` is passed over.

    Args:
        shape: one letter a dimension, ``"N"`` or ``"B T"``; all tensors share these sizes.
        kind: what the elements are.
        like: a tensor, of any kind, whose sizes the others must have.
        tensors: by the name of the caller's argument, which the error repeats.

    Raises:
        ValueError: naming the argument, what was found and what was expected.
    """
    rank = len(shape.split())
    sizes = None if like is None else like.shape
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        if tensor.dim() != rank:
            raise ValueError(f"{name}: shape {list(tensor.shape)}, expected [{shape}]")
        if _kind(tensor) != kind:
            raise ValueError(f"{name}: dtype {tensor.dtype}, expected {kind}")
        sizes = tensor.shape if sizes is None else sizes
        if tensor.shape != sizes:
            raise ValueError(f"{name}: shape {list(tensor.shape)}, expected {list(sizes)}")


def _kind(tensor: Tensor) -> str:
    if tensor.dtype is torch.bool:
        return "bool"
    return "float" if tensor.is_floating_point() else "integer"


def widened(values: Tensor) -> Tensor:
    """``values`` in float32 or wider, so that sums and exponentials keep their digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def metric(values: Tensor, weights: Tensor | None = None) -> Metric:
    """(sum, count) of ``values: [N]``, detached; with ``weights: [N]`` their weighted sum."""
    check("N", values=values, weights=weights)
    values = widened(values.detach())
    if weights is None:
        return values.sum(), torch.tensor(values.numel(), dtype=values.dtype, device=values.device)
    return weighted_sum(values, weights), widened(weights.detach()).sum()


def weighted_sum(values: Tensor, weights: Tensor) -> Tensor:
    """Sum of ``weights * values``, both ``[N]``; a value of weight 0 has no effect, even NaN."""
    kept = torch.where(weights != 0, values, torch.zeros_like(values))
    return (widened(weights) * widened(kept)).sum()


def accuracy(margin: Tensor) -> Tensor:
    """1 where ``margin: [P]`` is above 0, 0 where below, one half at a tie; no gradient."""
    return (margin.detach().sign() + 1) / 2
