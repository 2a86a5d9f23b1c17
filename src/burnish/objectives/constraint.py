"""A constraint on expected cost by a Lagrange multiplier that is learnt. No gradients."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from burnish.objectives.types import check, widened

MultiplierKind = Literal["scaled", "plain"]
SMALLEST = 1e-8
"""The least multiplier, so that it stays above 0."""


def next_multiplier(
    multiplier: float,
    excess: float,
    learning_rate: float,
    kind: MultiplierKind = "scaled",
    *,
    maximum: float = 100.0,
) -> float:
    """The multiplier lambda after one step: it grows where the cost is above its budget.

    - ``scaled``: ``ln lambda += learning_rate * lambda * excess``, the gradient of
      ``lambda * excess`` with respect to ln lambda; Dai et al. 2023 (Safe RLHF, arXiv 2310.12773)
      eq. 31. A lambda near 0 hardly moves any more.
    - ``plain``: ``ln lambda += learning_rate * excess``, without the factor: the authors' later
      answer (PKU-Alignment/safe-rlhf, issue 164).

    Args:
        multiplier: the present lambda, above 0.
        excess: the mean cost of replies less the budget.
        learning_rate: of the step, above 0.
        kind: which variant.
        maximum: lambda stays between ``SMALLEST`` and this.

    Raises:
        ValueError: a number is not finite or not in its range, or ``kind`` is unknown.
    """
    if kind not in ("scaled", "plain"):
        raise ValueError(f"kind: {kind!r}, expected scaled or plain")
    if not (0 < multiplier < math.inf and learning_rate > 0 and maximum > SMALLEST):
        found = f"{multiplier}, {learning_rate}, {maximum}"
        raise ValueError(f"multiplier, learning_rate, maximum: {found}; expected above 0")
    if not math.isfinite(excess):
        raise ValueError(f"excess: {excess}, expected a finite number")
    factor = multiplier if kind == "scaled" else 1.0
    moved = math.log(multiplier) + learning_rate * factor * excess
    if moved >= math.log(maximum):
        return maximum
    return max(SMALLEST, math.exp(moved))


@torch.no_grad()
def constrained_advantages(rewards: Tensor, costs: Tensor, multiplier: float) -> Tensor:
    """``(A_r - lambda A_c) / (1 + lambda)``: reward against cost, the policy's step in Dai et al.
    2023 (Safe RLHF, arXiv 2310.12773). The divisor keeps the size of updates whatever lambda is.

    Args:
        rewards, costs: advantages of reward and of cost, ``[N]``.
        multiplier: lambda.

    Returns:
        ``[N]``, float32 or wider.

    Raises:
        ValueError: a shape or dtype is wrong, or ``multiplier`` is below 0.
    """
    check("N", rewards=rewards, costs=costs)
    if not multiplier >= 0:
        raise ValueError(f"multiplier: {multiplier}, expected at least 0")
    return (widened(rewards) - multiplier * widened(costs)) / (1 + multiplier)
