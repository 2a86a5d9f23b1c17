"""The language-modelling losses: of text, and of what another model would say."""

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
    return _weighted("nll", -logprobs, weights)


def held_to(divergences: Tensor, weights: Tensor) -> Loss:
    """Distillation: ``total = sum(w KL(p_ref | p))``, ``count = sum(w)``; see ``full_kl``.

    Args:
        divergences: of the next-token distribution at each target, ``[N]``, in nats.
        weights: weight of each target token, ``[N]``, at least 0.

    Returns:
        The loss in nats, with the metric ``anchor_kl``: the same, over the tokens of weight
        above 0.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("N", divergences=divergences, weights=weights)
    return _weighted("anchor_kl", divergences, weights)


def _weighted(name: str, values: Tensor, weights: Tensor) -> Loss:
    seen = metric(values, (weights > 0).to(weights.dtype))
    return Loss(weighted_sum(values, weights), metric(weights)[0], {name: seen})
