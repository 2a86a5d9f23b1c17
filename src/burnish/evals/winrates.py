"""Win rates of one model over another, as they are and with the length of replies controlled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from burnish.evals.logistic import fit
from burnish.evals.resampling import Array, cluster_codes
from burnish.evals.statistics import mean_figure
from burnish.records import Figure

LENGTH_PENALTY = 1.0
"""Of the length's coefficient: it stays finite where the longer reply always wins."""


@dataclass(frozen=True)
class WinRate:
    """How often the second of two models wins; a tie is half a win.

    ``raw`` is the share as judged, ``controlled`` the share expected at equal lengths, both with
    95 % intervals. ``length_effect`` is the coefficient of the length difference, in nats of a
    difference that is large beside the others: above 0 the judge prefers longer replies.
    ``missing`` pairs had no verdict; they are nobody's wins.
    """

    raw: Figure
    controlled: Figure
    length_effect: float
    wins: int
    ties: int
    losses: int
    missing: int


def win_rate(
    outcomes: Sequence[float | None], gaps: Sequence[int], groups: Sequence[str] | None = None
) -> WinRate:
    """Raw and length-controlled win rate.

    The controlled one is AlpacaEval 2's (Dubois et al. 2024, arXiv 2404.04475, equation 3) without
    its term for the difficulty of an instruction, which needs many models: a logistic regression of
    the outcome on a constant and ``tanh(gap / std(gap))``, read off at a gap of 0. A model against
    itself has 50 %. Where no pair or every pair was won, lengths explain nothing, and the
    controlled rate is the raw one.

    Args:
        outcomes: ``[n]``: 1 where the second model won, 0.5 a tie, 0 a loss, None no verdict.
        gaps: ``[n]`` characters of the second reply less those of the first.
        groups: ``[n]`` clusters of items.

    Raises:
        ValueError: lists differ in length, or an outcome is none of these.
    """
    names = ("",) * len(outcomes) if groups is None else groups
    if not len(outcomes) == len(gaps) == len(names):
        found = f"{len(outcomes)}, {len(gaps)}, {len(names)}"
        raise ValueError(f"outcomes, gaps, groups: {found} values, expected as many of each")
    if wrong := [one for one in outcomes if one not in (None, 0, 0.5, 1)]:
        raise ValueError(f"outcomes: found {wrong[0]}, expected 0, 0.5, 1 or None")
    known = [at for at, outcome in enumerate(outcomes) if outcome is not None]
    scores: Array = np.array([outcomes[at] for at in known], dtype=np.float64)
    lengths: Array = np.array([gaps[at] for at in known], dtype=np.float64)
    used = [names[at] for at in known]
    raw = mean_figure(scores, used)
    controlled, effect = raw, 0.0
    if len(known) > 1 and 0 < raw.value < 1:
        controlled, effect = _controlled(scores, lengths, used)
    wins, ties, losses = (int((scores == value).sum()) for value in (1.0, 0.5, 0.0))
    return WinRate(raw, controlled, effect, wins, ties, losses, len(outcomes) - len(known))


def _controlled(scores: Array, gaps: Array, groups: Sequence[str]) -> tuple[Figure, float]:
    spread = float(gaps.std())
    relative = np.tanh(gaps / spread) if spread > 0 else np.zeros(len(gaps))
    design = np.stack([np.ones(len(gaps)), relative], axis=1)
    penalty = np.array([0.0, LENGTH_PENALTY])
    found = fit(design, scores, cluster_codes(groups)[0], penalty)
    theta, effect = (float(value) for value in found.coefficients)
    half = float(norm.ppf(0.975)) * math.sqrt(found.covariance[0, 0])
    rate, low, high = (0.5 * (1 + math.tanh(at / 2)) for at in (theta, theta - half, theta + half))
    return Figure(rate, low, high, len(scores)), effect
