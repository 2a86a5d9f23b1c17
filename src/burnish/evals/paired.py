"""Paired comparisons of two lists of scores, alone or averaged over several metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from burnish.evals.proportions import PairedRates
from burnish.evals.resampling import (
    Array,
    Codes,
    cluster_codes,
    cluster_sums,
    design_effect,
    resampled_sums,
    sign_flip,
    widening,
)

Values = Sequence[float | None] | Array
DRAWS = 4000


@dataclass(frozen=True)
class Comparison:
    """A paired difference ``after - before`` of means.

    ``low, high``: its 95 % interval. ``p_value``: one-sided, for a difference above 0;
    ``p_two_sided``: for one unlike 0. ``n``: pairs used, ``missing``: pairs dropped.
    ``effect_size``: difference over the standard deviation of the differences. Without pairs
    the difference is NaN, the interval infinite and the p-values 1.
    """

    difference: float
    low: float
    high: float
    p_value: float
    p_two_sided: float
    method: str
    n: int
    missing: int = 0
    effect_size: float = 0.0


@dataclass(frozen=True)
class Pairs:
    """Complete pairs: ``before, after: [n]``, their group names, how many were dropped."""

    before: Array
    after: Array
    groups: tuple[str, ...]
    missing: int = 0

    @property
    def changes(self) -> Array:
        """``after - before``, ``[n]``."""
        return self.after - self.before

    @property
    def binary(self) -> bool:
        """Whether all values are 0 or 1."""
        return is_binary(self.before) and is_binary(self.after)

    def swapped(self) -> Pairs:
        """The same pairs with the two sides exchanged."""
        return replace(self, before=self.after, after=self.before)


def pair(before: Values, after: Values, groups: Sequence[str] | None = None) -> Pairs:
    """Pair two lists by place, dropping every pair of which one side is missing.

    Raises:
        ValueError: the lists differ in length, or a value is infinite.
    """
    first, second = _numbers(before), _numbers(after)
    names = ("",) * len(first) if groups is None else tuple(groups)
    if not len(first) == len(second) == len(names):
        raise ValueError(
            f"before, after, groups: {len(first)}, {len(second)}, {len(names)} values, "
            "expected as many of each"
        )
    kept = ~(np.isnan(first) | np.isnan(second))
    used = tuple(name for name, keep in zip(names, kept, strict=True) if keep)
    return Pairs(first[kept], second[kept], used, int((~kept).sum()))


def compare(
    metrics: Sequence[Pairs], binary: bool | None = None, *, draws: int = DRAWS, seed: int = 0
) -> Comparison:
    """Compare the unweighted mean over metrics of each metric's mean change (macro average).

    Groups of equal name are one cluster across the metrics too. ``n`` is the smallest metric's.
    Without pairs in one of them there is nothing to compare.
    """
    n = min((len(m.changes) for m in metrics), default=0)
    missing = sum(m.missing for m in metrics)
    if n == 0:
        return Comparison(math.nan, -math.inf, math.inf, 1.0, 1.0, "none", 0, missing)
    difference = float(np.mean([m.changes.mean() for m in metrics]))
    contributions, _ = _cluster_parts(metrics)
    clustered = len(contributions) < sum(len(m.changes) for m in metrics)
    rates = _rates(metrics) if binary is not False else None
    if rates is not None and not clustered:
        discordant = int(rates.gains + rates.losses)
        gains = int(rates.gains)
        p_value = float(stats.binom.sf(gains - 1, discordant, 0.5))
        p_two_sided = float(stats.binomtest(gains, discordant).pvalue) if discordant else 1.0
        test = "McNemar exact"
    else:
        p_value, p_two_sided = sign_flip(contributions, draws, seed)
        test = "sign-flip by cluster" if clustered else "sign-flip"
    if rates is not None:
        low, high = rates.interval(0.95)
    else:
        low, high = _macro_interval(metrics, difference, draws, seed)
    method = f"{test}, {'Tango' if rates is not None else 'bootstrap'} interval"
    changes = np.concatenate([m.changes for m in metrics])
    return Comparison(
        difference,
        low,
        high,
        p_value,
        p_two_sided,
        method,
        n,
        missing,
        _standardised(difference, changes),
    )


def exceeds(metrics: Sequence[Pairs], at: float, *, draws: int = DRAWS, seed: int = 0) -> float:
    """One-sided p-value for a (macro-averaged) difference above ``at``.

    Tango's score test for one metric of 0/1 outcomes; else the share of bootstrap samples at or
    below ``at`` (with the + 1 correction). 1 where there are no pairs.
    """
    if min((len(m.changes) for m in metrics), default=0) == 0:
        return 1.0
    rates = _rates(metrics)
    if rates is not None:
        return rates.p_above(at)
    contributions, influence = _cluster_parts(metrics)
    if len(influence) < 2:
        return 1.0
    difference, flat = float(contributions.sum()), _flat_rates(metrics, influence)
    if flat:
        return max(rates.p_above(at - difference + rates.difference) for rates in flat)
    samples = difference + _deviations(influence, draws, seed)
    return float((1 + (samples <= at).sum()) / (draws + 1))


def _numbers(values: Values) -> Array:
    numbers = np.array([math.nan if v is None else v for v in values], dtype=np.float64)
    if np.isinf(numbers).any():
        raise ValueError("values: infinite, expected finite numbers (NaN for a missing one)")
    return numbers


def is_binary(values: Array) -> bool:
    """Whether ``values: [n]`` are all 0 or 1."""
    return bool(np.isin(values, (0.0, 1.0)).all())


def freedom(codes: Codes) -> float:
    """Degrees of freedom: clusters less 1, or infinite where every item is its own cluster."""
    clusters = len(np.unique(codes))
    return math.inf if clusters == len(codes) else max(1, clusters - 1)


def _rates(metrics: Sequence[Pairs]) -> PairedRates | None:
    """The effective counts of a single metric of 0/1 outcomes; None where it is not one."""
    if len(metrics) != 1 or not metrics[0].binary:
        return None
    changes, codes = metrics[0].changes, cluster_codes(metrics[0].groups)[0]
    effect = design_effect(changes, codes)
    gains, losses = int((changes > 0).sum()), int((changes < 0).sum())
    return PairedRates(gains / effect, losses / effect, len(changes) / effect, freedom(codes))


def _cluster_parts(metrics: Sequence[Pairs]) -> tuple[Array, Array]:
    """What each cluster adds to the macro difference, and by how much it moves it, both ``[G]``.

    The second is the first less the cluster's share of items times the metric's difference
    (the influence of the cluster on the mean); it sums to 0.
    """
    coded = cluster_codes(*(m.groups for m in metrics))
    clusters = 1 + max(int(codes.max()) for codes in coded)
    contributions, influence = np.zeros(clusters), np.zeros(clusters)
    for m, codes in zip(metrics, coded, strict=True):
        share = 1 / (len(metrics) * len(codes))
        contributions += share * cluster_sums(m.changes, codes, clusters)
        influence += share * cluster_sums(m.changes - m.changes.mean(), codes, clusters)
    return contributions, influence


def _deviations(influence: Array, draws: int, seed: int) -> Array:
    return resampled_sums([influence], draws, seed)[0] * widening(len(influence), 0.95)


def _macro_interval(
    metrics: Sequence[Pairs], difference: float, draws: int, seed: int
) -> tuple[float, float]:
    influence = _cluster_parts(metrics)[1]
    if len(influence) < 2:
        return -math.inf, math.inf
    flat = _flat_rates(metrics, influence)
    if flat:
        bounds = np.mean([rates.interval(0.95) for rates in flat], axis=0)
        return float(bounds[0]), float(bounds[1])
    low, high = np.quantile(_deviations(influence, draws, seed), [0.025, 0.975])
    return difference + float(low), difference + float(high)


def _flat_rates(metrics: Sequence[Pairs], influence: Array) -> list[PairedRates]:
    """Each metric's rates where all are 0/1 outcomes and no cluster differs from another.

    There is then no spread to resample, yet a small sample is not certainty; bounds from every
    single metric hold however the metrics depend on each other. Empty where there is spread.
    """
    rates = [_rates([m]) for m in metrics] if np.allclose(influence, 0) else []
    return [one for one in rates if one is not None] if None not in rates else []


def _standardised(difference: float, changes: Array) -> float:
    spread = float(changes.std(ddof=1)) if len(changes) > 1 else 0.0
    if difference == 0:
        return 0.0
    return difference / spread if spread > 0 else math.copysign(math.inf, difference)
