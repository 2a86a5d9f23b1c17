"""The language-modelling losses: of text, and of what another model would say."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from burnish.objectives.types import Loss, check, metric, weighted_sum


def cross_entropy(
    logprobs: Tensor,
    weights: Tensor | None = None,
    *,
    label_smoothing: float = 0.0,
    mean: Tensor | None = None,
) -> Loss:
    """Negative log-likelihood of targets: ``total = -sum(w log p)``, ``count = sum(w)``.

    With ``label_smoothing`` e a token's loss is ``-(1-e) log p_y - e mean_v(log p_v)``, the mean
    running over the whole vocabulary (Szegedy et al. 2016, arXiv 1512.00567, section 7, with the
    uniform distribution for u).

    Args:
        logprobs: log-probability of each target token, ``[N]``.
        weights: weight of each target token, ``[N]``, at least 0; ``None`` for 1 everywhere.
        label_smoothing: e, at least 0 and below 1.
        mean: mean log-probability over the vocabulary at each target, ``[N]``; for
            ``label_smoothing`` above 0.

    Returns:
        The loss in nats, with the metric ``nll``: the loss without smoothing, over the tokens of
        weight above 0.

    Raises:
        ValueError: a shape, dtype or parameter is wrong, or ``mean`` is missing.
    """
    check("N", logprobs=logprobs, weights=weights, mean=mean)
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing: {label_smoothing}, expected at least 0 and below 1")
    if weights is None:
        weights = logprobs.new_ones(logprobs.shape)
    plain = _weighted("nll", -logprobs, weights)
    if label_smoothing == 0:
        return plain
    if mean is None:
        raise ValueError("mean: missing, needed by label_smoothing")
    rows = -(1 - label_smoothing) * logprobs - label_smoothing * mean
    return replace(plain, total=weighted_sum(rows, weights))


def held_to(divergences: Tensor, weights: Tensor, name: str = "anchor_kl") -> Loss:
    """What keeps a model near another: ``total = sum(w divergence)``, ``count = sum(w)``.

    Args:
        divergences: of the next-token distribution at each target, ``[N]``, in nats; see
            ``distillation.distribution_divergence``.
        weights: weight of each target token, ``[N]``, at least 0.
        name: of the metric.

    Returns:
        The loss in nats, with the metric ``name``: the same, over the tokens of weight above 0.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("N", divergences=divergences, weights=weights)
    return _weighted(name, divergences, weights)


def _weighted(name: str, values: Tensor, weights: Tensor) -> Loss:
    seen = metric(values, (weights > 0).to(weights.dtype))
    return Loss(weighted_sum(values, weights), metric(weights)[0], {name: seen})
