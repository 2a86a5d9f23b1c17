"""Whether a reward model is right as often as it says: reliability, its error, a temperature.

A score difference (gap) says P(chosen is better) = s(gap). Each pair is seen from the side that the
model prefers: its confidence lies in [0.5, 1], and it is right where the gap is positive. A gap of
0 prefers neither side and counts as half right, as a coin would be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of a fitted temperature; pairs that are all ranked right have no best one."""


@dataclass(frozen=True)
class Bin:
    """The pairs whose confidence is in [``low``, ``high``): how many, and both means."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def reliability(gaps: Sequence[float], bins: int = 10) -> list[Bin]:
    """The bins of equal width between 0.5 and 1 that have pairs in them.

    DeGroot and Fienberg 1983; Guo et al. 2017 (arXiv 1706.04599), section 2.
    """
    binned: dict[int, list[tuple[float, float]]] = {}
    for gap in gaps:
        confidence = 1 / (1 + math.exp(-min(abs(gap), 50.0)))
        place = min(bins - 1, int((confidence - 0.5) * 2 * bins))
        binned.setdefault(place, []).append((confidence, 0.5 if gap == 0 else float(gap > 0)))
    width = 0.5 / bins
    return [
        Bin(
            low=0.5 + place * width,
            high=0.5 + (place + 1) * width,
            n=len(pairs),
            confidence=sum(c for c, _ in pairs) / len(pairs),
            accuracy=sum(right for _, right in pairs) / len(pairs),
        )
        for place, pairs in sorted(binned.items())
    ]


def calibration_error(gaps: Sequence[float], bins: int = 10) -> float:
    """Expected calibration error over equal-width bins, Guo et al. 2017 (arXiv 1706.04599) eq. 3.
    0 without pairs."""
    found = reliability(gaps, bins)
    return sum(one.n * abs(one.confidence - one.accuracy) for one in found) / max(1, len(gaps))


def fit_temperature(gaps: Sequence[float]) -> float | None:
    """The T for which ``s(gap / T)`` says the pairs most likely (Guo et al. 2017, section 4.2),
    between ``COLDEST`` and ``HOTTEST``; None where all gaps are 0 or there is none.

    The loss is convex in 1 / T, so that its only minimum is found.
    """
    values = np.asarray(gaps, dtype=float)
    if not np.any(values):
        return None

    def loss(inverse: float) -> float:
        return float(np.logaddexp(0.0, -values * inverse).mean())

    bounds = (1 / HOTTEST, 1 / COLDEST)
    return float(1 / optimize.minimize_scalar(loss, bounds=bounds, method="bounded").x)
