"""Agreement of annotators with each other and of a judge with them, and what follows from it.

Labels of a machine may be used in place of people's where two things hold beyond sampling error:
people agree with each other (else there is nothing to agree with), and the judge agrees with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from burnish.evals.resampling import Array, widening
from burnish.records import Figure

Level = Literal["nominal", "ordinal", "interval"]
Label = str | float
Column = Sequence[Label | None]
"""The labels ``[n]`` of one rater; None where one is missing."""

DRAWS = 1000
MOST_VALUES = 50
THRESHOLD = 0.667
"""The least with which Krippendorff (2004, p. 241) would draw even tentative conclusions."""


@dataclass(frozen=True)
class Agreement:
    """What was found; figures have 95 % bootstrap intervals over items.

    ``people`` is Krippendorff's alpha of the annotators (NaN for a single one), ``judge`` the mean
    of the judge's Cohen's kappas with each of them, ``pairs`` the kappa of every two raters by
    ``"a / b"``. Where labels are numbers, kappa has quadratic weights (Cohen 1968): of the values
    for the interval level, of their ranks for the ordinal one. ``missing`` counts the judge's
    missing labels. ``reasons`` say why not ``usable``, or what is not known.
    """

    items: int
    people: Figure
    judge: Figure
    pairs: dict[str, Figure]
    missing: int
    usable: bool
    reasons: list[str]


def krippendorff_alpha(raters: Sequence[Column], level: Level = "nominal") -> float:
    """Krippendorff's alpha (2011, "Computing Krippendorff's Alpha-Reliability"), 1 − D_o / D_e.

    Items with fewer than two labels do not count. NaN where all labels are the same.

    Args:
        raters: a column of ``[n]`` labels each; numbers unless the level is nominal.
    """
    values, codes = _coded(raters, level)
    return _alpha(_coincidences(codes, len(values)).sum(axis=0), values, level)


def agreement(
    annotators: Mapping[str, Column],
    judge: tuple[str, Column],
    level: Level = "nominal",
    threshold: float = THRESHOLD,
    seed: int = 0,
) -> Agreement:
    """Compare all raters, and decide by the lower ends of the intervals.

    Args:
        annotators: columns of labels by name, at least one.
        judge: the judge's name and column.
        threshold: what ``people`` and ``judge`` must reach.
        seed: of the bootstrap.

    Raises:
        ValueError: no annotator, columns of unlike lengths, above ``MOST_VALUES`` different
            labels, or labels that are no numbers where the level needs them.
    """
    names, columns = [*annotators, judge[0]], [*annotators.values(), judge[1]]
    if len(columns) < 2 or len({len(column) for column in columns}) != 1:
        raise ValueError("annotators: expected at least one, all columns of one length")
    values, codes = _coded(columns, level)
    size, last = len(values), len(columns) - 1
    tables = {
        (a, b): _confusions(codes[a], codes[b], size) for a, b in combinations(range(last + 1), 2)
    }

    def kappas(sums: Sequence[Array]) -> float:
        return float(np.mean([_kappa(table, values, level) for table in sums]))

    with_judge = [table for (_, b), table in tables.items() if b == last]
    counted = [_coincidences(codes[:last], size)]
    people = _figure(counted, lambda sums: _alpha(sums[0], values, level), seed)
    machine = _figure(with_judge, kappas, seed)
    pairs = {
        f"{names[a]} / {names[b]}": _figure([table], kappas, seed)
        for (a, b), table in tables.items()
    }
    reasons = _reasons(len(annotators), people, machine, threshold)
    missing = sum(label is None for label in judge[1])
    usable = machine.low >= threshold and (len(annotators) == 1 or people.low >= threshold)
    return Agreement(len(columns[0]), people, machine, pairs, missing, usable, reasons)


def _reasons(annotators: int, people: Figure, judge: Figure, threshold: float) -> list[str]:
    found = []
    if annotators == 1:
        found.append("one annotator: how well people agree with each other is not known")
    elif not people.low >= threshold:
        found.append(
            f"people may agree with each other by as little as {people.low:.2f}, below {threshold}"
        )
    if not judge.low >= threshold:
        found.append(f"the judge may agree with people by {judge.low:.2f}, below {threshold}")
    return found


def _coded(columns: Sequence[Column], level: Level) -> tuple[Array, list[Array]]:
    """The values in order (their numbers, or for names 0, 1, 2 ...) and each label's place.

    A missing label has the place -1.
    """
    labels = {label for column in columns for label in column if label is not None}
    numbers = [label for label in labels if isinstance(label, int | float)]
    if level != "nominal" and len(numbers) < len(labels):
        raise ValueError(f"labels: expected numbers for the level {level}")
    if len(labels) > MOST_VALUES:
        raise ValueError(f"labels: {len(labels)} different ones, expected at most {MOST_VALUES}")
    ordered = sorted(labels, key=lambda label: (isinstance(label, str), label))
    places = {label: place for place, label in enumerate(ordered)}
    codes = [
        np.array([-1 if label is None else places[label] for label in column], dtype=np.float64)
        for column in columns
    ]
    values = ordered if level == "interval" else range(len(ordered))
    return np.array([float(value) for value in values]), codes


def _coincidences(codes: Sequence[Array], size: int) -> Array:
    """Each item's part of the coincidence matrix, ``[n, K, K]``."""
    table = np.zeros((len(codes[0]), size, size))
    for at in range(len(codes[0])):
        said = [int(column[at]) for column in codes if column[at] >= 0]
        for a, b in combinations(said, 2):
            table[at, a, b] += 1 / (len(said) - 1)
            table[at, b, a] += 1 / (len(said) - 1)
    return table


def _confusions(first: Array, second: Array, size: int) -> Array:
    """Each item's cell of the table of two raters, ``[n, K, K]``; empty where one is missing."""
    table = np.zeros((len(first), size, size))
    there = np.flatnonzero((first >= 0) & (second >= 0))
    table[there, first[there].astype(int), second[there].astype(int)] = 1
    return table


def _distances(values: Array, level: Level, counts: Array) -> Array:
    """Krippendorff's squared difference of every two values, ``[K, K]``."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        return np.square(values[:, None] - values[None, :])
    below = np.cumsum(counts) - counts / 2  # the middle of each value among all labels
    return np.square(below[:, None] - below[None, :])


def _alpha(coincidences: Array, values: Array, level: Level) -> float:
    counts = coincidences.sum(axis=1)
    total = float(counts.sum())
    distances = _distances(values, level, counts)
    expected = float((np.outer(counts, counts) * distances).sum())
    observed = float((coincidences * distances).sum())
    return 1 - observed * (total - 1) / expected if expected else math.nan


def _kappa(table: Array, values: Array, level: Level) -> float:
    total = table.sum()
    weights = (
        1.0 - np.eye(len(values))
        if level == "nominal"
        else np.square(values[:, None] - values[None, :])
    )
    expected = float((np.outer(table.sum(axis=1), table.sum(axis=0)) * weights).sum())
    return 1 - float((table * weights).sum()) * total / expected if expected else math.nan


def _figure(parts: Sequence[Array], statistic: Callable[[list[Array]], float], seed: int) -> Figure:
    """A statistic of summed tables, with an interval from drawing items with replacement."""
    n = len(parts[0])
    used = int(np.any([part.sum(axis=(1, 2)) > 0 for part in parts], axis=0).sum())
    value = statistic([part.sum(axis=0) for part in parts])
    if used < 2 or math.isnan(value):
        return Figure(value, -math.inf, math.inf, used)
    picked = np.random.default_rng(seed).integers(n, size=(DRAWS, n))
    times = np.stack([np.bincount(row, minlength=n) for row in picked]).astype(np.float64)
    tables = [np.tensordot(times, part, 1) for part in parts]
    samples = [statistic([table[at] for table in tables]) for at in range(DRAWS)]
    known = np.array([sample for sample in samples if not math.isnan(sample)])
    wide = value + (known - value) * widening(used, 0.95)
    low, high = np.quantile(wide, [0.025, 0.975])
    return Figure(value, float(low), min(1.0, float(high)), used)
