"""Logistic regression by Newton's method, with a covariance that holds for clustered outcomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from burnish.evals.resampling import Array, Codes

_STEPS = 100
_SMALL = 1e-10
_FLAT = 1e-9
"""Directions whose curvature is this share of the largest, or less, have none."""


@dataclass(frozen=True)
class Fit:
    """Coefficients ``[K]`` and their covariance ``[K, K]``."""

    coefficients: Array
    covariance: Array


def fit(design: Array, outcomes: Array, clusters: Codes, penalty: Array | None = None) -> Fit:
    """Maximise the log-likelihood less ``sum(penalty * coefficient^2) / 2``.

    The covariance is the sandwich over clusters (Liang and Zeger 1986), times G / (G - 1): it holds
    where outcomes of a cluster depend on each other, and where a tie counts as half a win. In
    directions that the design does not tell apart coefficients are the smallest possible.

    Args:
        design: ``[n, K]``.
        outcomes: ``[n]`` between 0 and 1.
        clusters: ``[n]`` numbers of clusters, from 0 without gaps.
        penalty: ``[K]``; none where left out. The maximum must be finite.
    """
    weight = np.zeros(design.shape[1]) if penalty is None else penalty
    beta = np.zeros(design.shape[1])
    value = _objective(design, outcomes, beta, weight)
    for _ in range(_STEPS):
        rates = _sigmoid(design @ beta)
        slope = design.T @ (outcomes - rates) - weight * beta
        step = _inverse(design, rates, weight) @ slope
        while (new := _objective(design, outcomes, beta + step, weight)) < value - _SMALL:
            step = step / 2
        beta, value = beta + step, new
        if np.abs(step).max(initial=0.0) < _SMALL:
            break
    rates = _sigmoid(design @ beta)
    inverse = _inverse(design, rates, weight)
    scores = design * (outcomes - rates)[:, None]
    count = int(clusters.max(initial=-1)) + 1
    sums = np.zeros((count, design.shape[1]))
    np.add.at(sums, clusters, scores)
    widened = count / max(1, count - 1)
    return Fit(beta, widened * inverse @ (sums.T @ sums) @ inverse)


def _inverse(design: Array, rates: Array, penalty: Array) -> Array:
    """Pseudo-inverse of the negative Hessian, ``[K, K]``."""
    curvature = (design * (rates * (1 - rates))[:, None]).T @ design + np.diag(penalty)
    return np.asarray(np.linalg.pinv(curvature, rcond=_FLAT, hermitian=True), dtype=np.float64)


def _objective(design: Array, outcomes: Array, beta: Array, penalty: Array) -> float:
    logits = design @ beta
    likelihood = (outcomes * logits - np.logaddexp(0.0, logits)).sum()
    return float(likelihood - (penalty * beta**2).sum() / 2)


def _sigmoid(logits: Array) -> Array:
    found: Array = 0.5 * (1 + np.tanh(logits / 2))
    return found
