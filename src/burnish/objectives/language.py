"""The language-modelling loss."""

from __future__ import annotations

from torch import Tensor

from burnish.objectives.types import Loss, check, metric, weighted_sum


def cross_entropy(logprobs: Tensor, weights: Tensor | None = None) -> Loss:
    """Negative log-likelihood of targets: ``total = -sum(w log p)``, ``count = sum(w)``.

    Args:
        logprobs: log-probability of each target token, ``[N]``.
        weights: weight of each target token, ``[N]``, at least 0; ``None`` for 1 everywhere.

    Returns:
        The loss in nats, with the metric ``nll``: the same, over the tokens of weight above 0.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("N", logprobs=logprobs, weights=weights)
    if weights is None:
        weights = logprobs.new_ones(logprobs.shape)
    nll = metric(-logprobs, (weights > 0).to(weights.dtype))
    return Loss(-weighted_sum(logprobs, weights), metric(weights)[0], {"nll": nll})
