"""Resampling of clusters: bootstrap draws and the sign-flip test, seeded and vectorised."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
_CELLS = 4_000_000
_ENUMERABLE = 12


def cluster_codes(*columns: Sequence[str]) -> list[Codes]:
    """Number the clusters of one or more columns of group names, from 0 without gaps.

    Equal names are one cluster, also across columns; an empty name is a cluster of its own.
    """
    known: dict[str, int] = {}
    total = 0
    coded = []
    for column in columns:
        codes = []
        for name in column:
            if name in known:
                codes.append(known[name])
                continue
            if name:
                known[name] = total
            codes.append(total)
            total += 1
        coded.append(np.array(codes, dtype=np.int64))
    return coded


def cluster_sums(values: Array, codes: Codes, clusters: int) -> Array:
    """Sum of ``values: [n]`` in each cluster, ``[G]``."""
    return np.bincount(codes, weights=values, minlength=clusters).astype(np.float64)


def design_effect(values: Array, codes: Codes) -> float:
    """By how much clustering inflates the variance of the mean of ``values: [n]``; at least 1.

    Constant values tell nothing about it: then each cluster is counted as one observation.
    """
    n, clusters = len(values), len(np.unique(codes))
    if clusters == n:
        return 1.0
    variance = float(values.var(ddof=1)) / n
    if clusters == 1 or variance == 0:
        return n / clusters
    residuals = cluster_sums(values - values.mean(), codes, int(codes.max()) + 1) / n
    clustered = clusters / (clusters - 1) * float((residuals**2).sum())
    return max(1.0, clustered / variance)


def resampled_sums(columns: Sequence[Array], draws: int, seed: int) -> list[Array]:
    """Sums of each column ``[G]`` over clusters drawn with replacement: ``[draws]`` a column."""
    clusters = len(columns[0])
    rng = np.random.default_rng(seed)
    parts: list[list[Array]] = [[] for _ in columns]
    for rows in _blocks(draws, clusters):
        picked = rng.integers(clusters, size=(rows, clusters))
        for part, column in zip(parts, columns, strict=True):
            part.append(column[picked].sum(axis=1))
    return [np.concatenate(part) for part in parts]


def widening(clusters: int, level: float) -> float:
    """Factor that bootstrap deviations are stretched by, so that few clusters do not look sure.

    ``sqrt(G / (G-1)) * t / z``: the bootstrap's variance is short of the unbiased one by
    (G-1) / G, and its tails are the normal's where Student's are due (Hesterberg 2015, "What
    teachers should know about the bootstrap").
    """
    tail = (1 + level) / 2
    student = float(stats.t.ppf(tail, clusters - 1)) / float(stats.norm.ppf(tail))
    return math.sqrt(clusters / (clusters - 1)) * student


def sign_flip(contributions: Array, draws: int, seed: int) -> tuple[float, float]:
    """Paired randomisation test of a sum of cluster contributions ``[G]``.

    If the two models do not differ, swapping them within a cluster changes nothing in
    distribution: each contribution's sign is a coin toss. The level is exact for any number of
    clusters. All sign patterns are enumerated where there are at most 4,096; else ``draws``
    random ones are used and the observed one is counted in (the + 1 correction).

    Returns:
        The one-sided p-value (sum above 0) and the two-sided one.
    """
    moved = contributions[contributions != 0]
    if len(moved) == 0:
        return 1.0, 1.0
    observed, slack = float(moved.sum()), 1e-9 * float(np.abs(moved).sum())
    exact = len(moved) <= _ENUMERABLE
    above = beyond = 0 if exact else 1
    total = 0 if exact else 1
    for bits in _patterns(len(moved)) if exact else _random_bits(len(moved), draws, seed):
        sums = 2 * (bits @ moved) - moved.sum()
        above += int((sums >= observed - slack).sum())
        beyond += int((np.abs(sums) >= abs(observed) - slack).sum())
        total += len(sums)
    return above / total, beyond / total


def _patterns(size: int) -> Iterator[Array]:
    yield ((np.arange(2**size)[:, None] >> np.arange(size)) & 1).astype(np.float64)


def _random_bits(size: int, draws: int, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    for rows in _blocks(draws, size):
        yield rng.integers(0, 2, size=(rows, size)).astype(np.float64)


def _blocks(draws: int, width: int) -> Iterator[int]:
    """Split ``draws`` rows so that a block of ``width`` columns stays within memory."""
    block = max(1, _CELLS // max(1, width))
    while draws > 0:
        yield min(block, draws)
        draws -= block
