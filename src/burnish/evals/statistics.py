"""Intervals and tests for measured figures. Seeded: the same data give the same numbers.

Missing values (NaN or None) are dropped, in pairs where there are pairs, and counted; they are
never wins. Where items are clustered (several questions about one entity, several wordings of
one prompt), pass their groups: items of one group are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from scipy import stats

from burnish.evals.paired import (
    DRAWS,
    Comparison,
    Values,
    compare,
    exceeds,
    freedom,
    is_binary,
    pair,
)
from burnish.evals.proportions import quantile, wilson_bounds
from burnish.evals.resampling import (
    Array,
    Codes,
    cluster_codes,
    cluster_sums,
    design_effect,
    resampled_sums,
    widening,
)
from burnish.records import Figure

__all__ = [
    "Comparison",
    "clustered_bootstrap",
    "cohen_kappa",
    "holm",
    "mean_figure",
    "minimum_detectable_effect",
    "non_inferiority",
    "paired_comparison",
    "sample_size",
    "spread",
    "wilson",
]


def wilson(successes: float, n: float, level: float = 0.95) -> Figure:
    """A rate with Wilson's interval; without trials NaN between 0 and 1.

    Raises:
        ValueError: ``successes`` is not between 0 and ``n``.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes, n: {successes}, {n}; expected 0 <= successes <= n")
    if n == 0:
        return Figure(math.nan, 0.0, 1.0, 0)
    return Figure(successes / n, *wilson_bounds(successes / n, n, quantile(level)), int(n))


def clustered_bootstrap(
    values: Values,
    groups: Sequence[str] | None = None,
    statistic: Callable[[Array], float] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> Figure:
    """A statistic with a bootstrap interval that draws whole groups, widened for few groups.

    Args:
        values: ``[n]``; missing ones are dropped.
        groups: ``[n]`` names; an empty one is a group of its own. Where all items are of one
            group, items are drawn, and the interval speaks of that group only.
        statistic: of the values; ``None`` for the mean, which is vectorised.
        draws: bootstrap samples.
        seed: of the random draws.
        level: of the interval.

    Returns:
        The figure; NaN without values, an infinite interval for a single one.

    Raises:
        ValueError: a value is infinite, or lengths differ.
    """
    kept, codes = _clusters(values, groups)
    n, clusters = len(kept), int(codes.max(initial=-1)) + 1
    if n == 0:
        return Figure(math.nan, -math.inf, math.inf, 0)
    value = float(kept.mean()) if statistic is None else float(statistic(kept))
    if n == 1:
        return Figure(value, -math.inf, math.inf, 1)
    if clusters == 1:
        codes, clusters = np.arange(n), n
    if statistic is None:
        sums = cluster_sums(kept, codes, clusters)
        sizes = cluster_sums(np.ones(n), codes, clusters)
        total, count = resampled_sums([sums, sizes], draws, seed)
        samples = total / count
    else:
        members = [np.flatnonzero(codes == code) for code in range(clusters)]
        picks = np.random.default_rng(seed).integers(clusters, size=(draws, clusters))
        samples = np.array(
            [statistic(kept[np.concatenate([members[c] for c in pick])]) for pick in picks]
        )
    return Figure(value, *_percentiles(value, samples, clusters, level), n)


def mean_figure(
    values: Values, groups: Sequence[str] | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Figure:
    """A mean with a 95 % interval that suits it.

    0/1 values get Wilson's interval; with groups, at the effective number of items (divided by
    the design effect) and Student's quantile, so that 20 successes of 20 are not certainty.
    Other values get :func:`clustered_bootstrap`.
    """
    kept, codes = _clusters(values, groups)
    if len(kept) == 0 or not is_binary(kept):
        return clustered_bootstrap(values, groups, draws=draws, seed=seed)
    rate, effective = float(kept.mean()), len(kept) / design_effect(kept, codes)
    return Figure(rate, *wilson_bounds(rate, effective, quantile(0.95, freedom(codes))), len(kept))


def paired_comparison(
    before: Values,
    after: Values,
    groups: Sequence[str] | None = None,
    binary: bool | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compare two lists of scores of the same items.

    p-values: McNemar's exact test for 0/1 outcomes without clusters, else the sign-flip test
    over clusters; both hold their level at any sample size. Intervals: Tango's score interval
    for 0/1 outcomes (at effective counts where clustered), else a bootstrap over clusters.

    Args:
        before, after: ``[n]``, paired by place; missing pairs are dropped and counted.
        groups: ``[n]`` names of clusters.
        binary: whether the values are 0/1 outcomes; ``None`` to see from the values.
        draws: random draws of the sign-flip test and the bootstrap.
        seed: of those draws.

    Raises:
        ValueError: lengths differ, a value is infinite, or ``binary`` and values are not 0/1.
    """
    pairs = pair(before, after, groups)
    if binary and not pairs.binary:
        raise ValueError("before, after: values other than 0 and 1, expected 0/1 outcomes")
    return compare([pairs], binary, draws=draws, seed=seed)


def non_inferiority(
    before: Values,
    after: Values,
    margin: float,
    groups: Sequence[str] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> float:
    """One-sided p-value for "after is not worse than before by ``margin`` or more".

    Raises:
        ValueError: ``margin`` is negative, lengths differ, or a value is infinite.
    """
    if margin < 0:
        raise ValueError(f"margin: {margin}, expected at least 0")
    return exceeds([pair(before, after, groups)], -margin, draws=draws, seed=seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm 1979: adjusted p-values, in the order given; the family-wise error stays at alpha."""
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        highest = max(highest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, highest)
    return adjusted


def minimum_detectable_effect(
    n: float, alpha: float = 0.05, power: float = 0.8, sd: float = 1.0
) -> float:
    """The smallest true gain that a one-sided paired test at ``alpha`` finds with ``power``.

    ``sd`` is the standard deviation of one pair's difference.
    """
    return float(stats.norm.isf(alpha) + stats.norm.ppf(power)) * sd / math.sqrt(n)


def sample_size(effect: float, sd: float, alpha: float = 0.05, power: float = 0.8) -> int:
    """Pairs needed to find a true gain of ``effect``: ``((z_a + z_p) sd / effect)^2``.

    Raises:
        ValueError: ``effect`` is not above 0.
    """
    if effect <= 0:
        raise ValueError(f"effect: {effect}, expected above 0")
    return max(1, math.ceil((minimum_detectable_effect(1, alpha, power, sd) / effect) ** 2))


def spread(comparison: Comparison) -> float:
    """Standard deviation of one pair, clustering included, as the interval's width implies."""
    half = (comparison.high - comparison.low) / 2
    return half / quantile(0.95) * math.sqrt(comparison.n)


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Agreement of two raters beyond chance, Cohen 1960; NaN where both always say the same one.

    Raises:
        ValueError: the lists are empty or differ in length.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"first, second: {len(first)}, {len(second)} labels, expected as many")
    n = len(first)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / n
    labels = set(first) | set(second)
    a, b = list(first), list(second)
    chance = sum(a.count(label) * b.count(label) for label in labels) / n**2
    return (agreed - chance) / (1 - chance) if chance < 1 else math.nan


def _clusters(values: Values, groups: Sequence[str] | None) -> tuple[Array, Codes]:
    """The values that are not missing, and the number of each one's cluster."""
    pairs = pair(values, values, groups)
    return pairs.after, cluster_codes(pairs.groups)[0]


def _percentiles(value: float, samples: Array, clusters: int, level: float) -> tuple[float, float]:
    wide = value + (samples - value) * widening(clusters, level)
    low, high = np.quantile(wide, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
