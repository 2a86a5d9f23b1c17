"""A constraint on expected cost by a Lagrange multiplier that is learnt. No gradients."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from burnish.objectives.types import check, widened

MultiplierKind = Literal["scaled", "plain"]


def next_multiplier(
    multiplier: float,
    excess: float,
    learning_rate: float,
    kind: MultiplierKind = "scaled",
    *,
    change: float = 0.0,
    damping: float = 0.0,
    minimum: float = 1e-8,
    maximum: float = 100.0,
) -> float:
    """The multiplier lambda after one step: it grows where the cost is above its budget.

    - ``scaled``: ``ln lambda += learning_rate * lambda * excess``, the gradient of
      ``lambda * excess`` with respect to ln lambda; Dai et al. 2023 (Safe RLHF, arXiv 2310.12773)
      eq. 31. A lambda near 0 hardly moves any more.
    - ``plain``: ``ln lambda += learning_rate * excess``, without the factor: the authors' later
      answer (PKU-Alignment/safe-rlhf, issue 164).

    ``damping`` adds ``damping * change`` to ln lambda, in either variant: the proportional part of
    Stooke et al. 2020 (PID Lagrangian, arXiv 2007.03964, sec. 5) in incremental form. It answers
    to a cost that rises before that is above its budget, where the sum of excesses lags behind and
    overshoots.

    Args:
        multiplier: the present lambda, above 0.
        excess: the mean cost of replies less the budget.
        learning_rate: of the step, above 0.
        kind: which variant.
        change: the excess less that of the step before; 0 at the first.
        damping: of changes, at least 0.
        minimum, maximum: lambda stays between them. From a minimum near 0 it takes long to return.

    Raises:
        ValueError: a number is not finite or not in its range, or ``kind`` is unknown.
    """
    if kind not in ("scaled", "plain"):
        raise ValueError(f"kind: {kind!r}, expected scaled or plain")
    if not (0 < multiplier < math.inf and learning_rate > 0 and damping >= 0):
        found = f"{multiplier}, {learning_rate}, {damping}"
        raise ValueError(f"multiplier, learning_rate, damping: {found}; expected above 0")
    if not 0 < minimum < maximum:
        raise ValueError(f"minimum, maximum: {minimum}, {maximum}; expected 0 < minimum < maximum")
    if not (math.isfinite(excess) and math.isfinite(change)):
        raise ValueError(f"excess, change: {excess}, {change}; expected finite numbers")
    factor = multiplier if kind == "scaled" else 1.0
    moved = math.log(multiplier) + learning_rate * factor * excess + damping * change
    if moved >= math.log(maximum):
        return maximum
    return max(minimum, math.exp(moved))


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
