"""The reward model's loss."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.objectives.types import Loss, accuracy, check, metric, weighted_sum, widened


def bradley_terry(
    chosen: Tensor,
    rejected: Tensor,
    margin: Tensor | None = None,
    *,
    centring: float = 0.0,
    weights: Tensor | None = None,
    probability: Tensor | None = None,
) -> Loss:
    """``-log s(chosen - rejected - margin) + centring * (chosen + rejected)^2`` over pairs.

    Touvron et al. 2023 (Llama 2, arXiv 2307.09288) eq. 1, and eq. 2 with the margin. The loss
    without centring does not change when all scores shift together; centring draws their mean
    to 0 (Eisenstein et al. 2023, arXiv 2312.09244).

    Args:
        chosen, rejected: scores, ``[P]``.
        margin: by how much the chosen reply is better, ``[P]``; ``None`` for 0.
        centring: weight of the centring term.
        weights: weight of each pair, ``[P]``; ``None`` for 1.
        probability: of each pair, that the chosen reply is the better one, ``[P]``; ``None`` for
            1. With ``x`` the argument of ``s`` above the row is the cross-entropy
            ``-(p log s(x) + (1-p) log s(-x))`` (Bai et al. 2022, arXiv 2212.08073, section 4.1).

    Returns:
        The loss, with metrics ``accuracy`` (a tie counts half), ``margin`` and ``score``.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check(
        "P",
        chosen=chosen,
        rejected=rejected,
        margin=margin,
        weights=weights,
        probability=probability,
    )
    chosen, rejected = widened(chosen), widened(rejected)
    if weights is None:
        weights = chosen.new_ones(chosen.shape)
    gap = chosen - rejected
    asked = gap if margin is None else gap - margin
    rows = -logsigmoid(asked)
    if probability is not None:
        sure = widened(probability)
        rows = sure * rows - (1 - sure) * logsigmoid(-asked)
    if centring:
        rows = rows + centring * (chosen + rejected) ** 2
    return Loss(
        weighted_sum(rows, weights),
        metric(weights)[0],
        {
            "accuracy": metric(accuracy(gap), weights),
            "margin": metric(gap, weights),
            "score": metric((chosen + rejected) / 2, weights),
        },
    )


def bradley_terry_heads(
    chosen: Tensor,
    rejected: Tensor,
    better: Tensor,
    names: Sequence[str],
    *,
    use_margin: bool = False,
    centring: float = 0.0,
) -> Loss:
    """:func:`bradley_terry` of several heads, each on the pairs that speak of its objective.

    Args:
        chosen, rejected: scores by pair and head, ``[P, K]``.
        better: by how much the chosen reply is better in each head's objective, ``[P, K]``;
            below 0 the rejected one is, 0 says nothing.
        names: of the K heads.
        use_margin: ask for a score difference of ``|better|``.
        centring: weight of the centring term.

    Returns:
        The loss; its count is the number of pairs and heads with a preference. The metrics are
        those of ``bradley_terry`` over all of them, and ``accuracy.NAME`` of each head.

    Raises:
        ValueError: a shape or dtype is wrong, or there are not K names.
    """
    check("P K", chosen=chosen, rejected=rejected, better=better)
    if len(names) != chosen.shape[1]:
        raise ValueError(f"names: {len(names)}, expected {chosen.shape[1]}")
    won = torch.where(better > 0, chosen, rejected)
    lost = torch.where(better > 0, rejected, chosen)
    parts = []
    for k, name in enumerate(names):
        margin = better[:, k].abs() if use_margin else None
        spoken = (better[:, k] != 0).to(better.dtype)
        part = bradley_terry(won[:, k], lost[:, k], margin, centring=centring, weights=spoken)
        own = {f"accuracy.{name}": part.metrics["accuracy"]}
        parts.append(replace(part, metrics={**part.metrics, **own}))
    return functools.reduce(operator.add, parts)
