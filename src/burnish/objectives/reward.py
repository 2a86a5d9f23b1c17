"""The reward model's loss."""

from __future__ import annotations

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

    Returns:
        The loss, with metrics ``accuracy`` (a tie counts half), ``margin`` and ``score``.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("P", chosen=chosen, rejected=rejected, margin=margin, weights=weights)
    chosen, rejected = widened(chosen), widened(rejected)
    if weights is None:
        weights = chosen.new_ones(chosen.shape)
    gap = chosen - rejected
    rows = -logsigmoid(gap if margin is None else gap - margin)
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
