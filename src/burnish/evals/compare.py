"""Evaluations of the same items, paired: the ground of ``compare`` and of the gate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from typing_extensions import TypedDict

from burnish.config import InputError, Problem
from burnish.evals import tasks
from burnish.evals.perplexity import DocumentLosses
from burnish.evals.statistics import (
    Comparison,
    holm,
    minimum_detectable_effect,
    paired_comparison,
    spread,
)
from burnish.store import atomic

RESPONSES = "responses.jsonl"
GENERAL_LOSSES = "general.json"
HARNESS_VALUES = "harness.json"
JUDGED = "judged.json"
"""Grades of a judge, ``{metric: Judged}``, and which judge it was."""
GENERAL = "general"
"""The metric of general text: mean log-probability a token of each held-out document."""
POWER = 0.8

Values = dict[str, list[float | None]]
Scores = dict[str, dict[str, float]]
Groups = dict[str, dict[str, str]]


class Judged(TypedDict):
    """The grades of one judge: by item, with the items' groups.

    ``usable`` tells whether people's labels say that its grades count; ``reasons`` why not.
    """

    judge: str
    usable: bool
    reasons: list[str]
    values: dict[str, float]
    groups: dict[str, str]


@dataclass(frozen=True)
class Aligned:
    """By metric, the scores of the same items in the same order, higher better; None where one
    side has no answer. ``groups``: the items' clusters."""

    before: Values
    after: Values
    groups: dict[str, list[str]]


@dataclass(frozen=True)
class Compared:
    """One metric of ``model`` against the first. ``adjusted_p`` is two-sided, after Holm's
    correction over all metrics and models of the comparison. ``detectable`` is the true
    difference that these items find with a power of ``POWER``, before that correction; None
    without pairs."""

    model: str
    metric: str
    comparison: Comparison
    adjusted_p: float
    state: Literal["improved", "regressed", "noise"]
    detectable: float | None


def item_values(folder: Path) -> tuple[Scores, Groups]:
    """Each metric's scores and groups by item, from an evaluation's raw responses."""
    values, groups = tasks.gate_values(tasks.score(tasks.read(folder / RESPONSES)))
    for name, file in ((GENERAL, GENERAL_LOSSES), (None, HARNESS_VALUES)):
        if (folder / file).exists():
            found = json.loads((folder / file).read_text(encoding="utf-8"))
            values |= {name: found} if name else found
    for name, graded in judged(folder).items():
        values[name], groups[name] = graded["values"], graded["groups"]
    return values, groups


def write_general(folder: Path, losses: DocumentLosses) -> None:
    """Write what ``item_values`` reads of general text into an evaluation's folder."""
    values = {str(index): -nats for index, nats in enumerate(losses.per_token)}
    atomic.write_text(folder / GENERAL_LOSSES, json.dumps(values))


def judged(folder: Path) -> dict[str, Judged]:
    """The metrics of an evaluation that are a judge's grades."""
    path = folder / JUDGED
    if not path.exists():
        return {}
    found: dict[str, Judged] = json.loads(path.read_text(encoding="utf-8"))
    return found


def check_judges(folders: Sequence[Path], names: Sequence[str]) -> None:
    """Refuse metrics that decide a promotion and come from a judge that may not.

    Args:
        folders: evaluations.
        names: the metrics that decide.

    Raises:
        InputError: naming metric, judge and why.
    """
    problems = {
        (name, one["judge"]): Problem(
            str(folder),
            None,
            name,
            f"graded by {one['judge']}, which may not decide: {'; '.join(one['reasons'])}",
            "a judge that agrees with people by its labels, or another metric",
        )
        for folder in folders
        for name, one in judged(folder).items()
        if name in names and not one["usable"]
    }
    if problems:
        raise InputError(list(problems.values()))


def align(before: Path, after: Path, names: Sequence[str] | None = None) -> Aligned:
    """Pair the evaluations in two folders item by item.

    Args:
        names: the metrics wanted; all that both have where none are named.

    Raises:
        InputError: a metric that is wanted was not measured on both sides.
    """
    (one, groups), (other, more) = item_values(before), item_values(after)
    shared = [name for name in one if name in other]
    problems = [
        Problem(str(after), None, name, "not measured on both sides", f"one of {', '.join(shared)}")
        for name in names or ()
        if name not in shared
    ]
    if problems:
        raise InputError(problems)
    aligned = Aligned({}, {}, {})
    for name in dict.fromkeys(shared if names is None else names):
        items = sorted(one[name].keys() | other[name].keys())
        aligned.before[name] = [one[name].get(item) for item in items]
        aligned.after[name] = [other[name].get(item) for item in items]
        place = {**groups.get(name, {}), **more.get(name, {})}
        aligned.groups[name] = [place.get(item) or item for item in items]
    return aligned


def compare(
    before: Path, others: Mapping[str, Path], alpha: float = 0.05, *, seed: int = 0
) -> list[Compared]:
    """Every metric that the evaluation ``before`` shares with each of the others, by their names:
    what improved, what regressed, what is noise."""
    found: list[tuple[str, str, Comparison]] = []
    for model, folder in others.items():
        aligned = align(before, folder)
        found += [
            (
                model, name,
                paired_comparison(
                    aligned.before[name], aligned.after[name], aligned.groups[name], seed=seed
                ),
            )
            for name in aligned.before
        ]  # fmt: skip
    adjusted = holm([comparison.p_two_sided for _, _, comparison in found])
    return [
        Compared(
            model, name, comparison, p, _state(comparison, p, alpha), _detectable(comparison, alpha)
        )
        for (model, name, comparison), p in zip(found, adjusted, strict=True)
    ]


def distinct_names(models: Sequence[str]) -> list[str]:
    """What models are called in a comparison: as they were named, numbered where named twice.

    Raises:
        InputError: fewer than two.
    """
    if len(models) < 2:
        found = ", ".join(models) or "none"
        raise InputError(Problem("", None, "models to compare", found, "two models or more"))
    return [
        name if models.count(name) == 1 else f"{name} ({models[: place + 1].count(name)})"
        for place, name in enumerate(models)
    ]


def _state(
    comparison: Comparison, p: float, alpha: float
) -> Literal["improved", "regressed", "noise"]:
    if p > alpha:
        return "noise"
    return "improved" if comparison.difference > 0 else "regressed"


def _detectable(comparison: Comparison, alpha: float) -> float | None:
    if comparison.n < 2:
        return None
    return minimum_detectable_effect(comparison.n, alpha / 2, POWER, spread(comparison))
