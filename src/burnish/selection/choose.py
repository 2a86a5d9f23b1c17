"""The steps of choosing, over facts alone: which records go, and why."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from burnish.config import InputError, Problem, Settings
from burnish.selection.clusters import Labels, Quota, quotas, semantic_duplicates
from burnish.selection.decontaminate import DecontaminateSettings
from burnish.selection.dedup import DedupSettings
from burnish.selection.embed import EmbedSettings
from burnish.selection.facts import Facts
from burnish.selection.groups import firsts, places
from burnish.selection.minhash import Indices, components

Topic = Literal["topic", "task", "source", "cluster"]
Reasons = Callable[[Indices], list[str]]


class SelectSettings(Settings):
    """What is left out and how many are kept; None switches a step off.

    ``min_score`` keeps scores of that and above. ``keep_top`` keeps this share of what is left,
    the best of every topic, rounded up; a topic is what ``within`` says, or the cluster where a
    record has none. ``count`` or ``share`` (of what came in) is the size of the sample that
    ``quota`` divides among clusters, see ``quotas``; in a cluster the highest scores come first,
    without scores the seed decides. ``clusters`` is ``sqrt(n / 2)`` unless given.
    """

    exact: bool = True
    near: float | None = Field(0.7, gt=0, le=1, description="Jaccard similarity of word 5-grams")
    leaks: DecontaminateSettings = DecontaminateSettings()
    min_score: float | None = None
    semantic: float | None = Field(0.95, gt=0, le=1, description="cosine, inclusive")
    keep_top: float | None = Field(None, gt=0, le=1)
    within: Topic = "topic"
    count: PositiveInt | None = None
    share: float | None = Field(None, gt=0, le=1)
    quota: Quota = "sqrt"
    clusters: PositiveInt | None = None
    embed: EmbedSettings = EmbedSettings()
    examples: int = Field(3, ge=0, description="removed records shown in the report, a step")

    def near_settings(self) -> DedupSettings:
        """How near duplicates are looked for."""
        return DedupSettings() if self.near is None else DedupSettings(threshold=self.near)

    def check(self, scored: bool) -> None:
        """Raise InputError where a step needs scores and there are none, or settings exclude each
        other."""
        needing = [name for name in ("min_score", "keep_top") if getattr(self, name) is not None]
        if needing and not scored:
            said, expected = "needs scores, and there are none", "the column they are in"
            raise InputError([Problem("", None, name, said, expected) for name in needing])
        if self.count is not None and self.share is not None:
            raise InputError(Problem("", None, "count", "given beside share", "one of the two"))


@dataclass(frozen=True)
class Taken:
    """What a step took out of ``entered`` records: ``rows``, ascending; ``reasons`` of some of
    them, by their places in ``rows``."""

    name: str
    entered: int
    rows: Indices
    reasons: Reasons


class Choice:
    """Which records are ``alive``, ascending, and what the steps took out."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.alive: Indices = np.arange(len(facts))
        self.steps: list[Taken] = []

    def take(self, name: str, gone: NDArray[np.bool_], reasons: Callable[[Indices], Any]) -> None:
        """Take out those of ``alive`` that are ``gone``; ``reasons`` of numbers among ``alive``."""
        at = np.flatnonzero(gone)
        self.steps.append(
            Taken(name, len(self.alive), self.alive[at], lambda some: list(reasons(at[some])))
        )
        self.alive = self.alive[~gone]


def choose(facts: Facts, settings: SelectSettings, labels: Labels, items: ItemNames) -> Choice:
    """Run the steps of ``settings``, in their order.

    Args:
        labels: ``[n]``, the cluster of each record.
        items: says the name of an evaluation item, by its number in ``facts.hits``; None where no
            evaluation is in use.
    """
    choice = Choice(facts)
    if facts.scores is not None:
        missing = np.isnan(facts.scores)
        choice.take("unscored", missing, lambda at: ["has no score"] * len(at))
    _repeats(choice, settings)
    if items is not None:
        _leaks(choice, items)
    if settings.min_score is not None:
        _low(choice, settings.min_score)
    if settings.semantic is not None:
        _same_meaning(choice, settings.semantic, labels)
    if settings.keep_top is not None:
        _keep_top(choice, settings.keep_top, labels)
    count = settings.count
    if settings.share is not None:
        count = max(1, round(settings.share * len(facts)))
    if count is not None:
        _balance(choice, count, settings.quota, labels)
    return choice


ItemNames = Callable[[int], str] | None


def _repeats(choice: Choice, settings: SelectSettings) -> None:
    """Records that repeat another: of each group the best score stays, then the longest text."""
    facts = choice.facts
    if settings.exact:
        _keep_firsts(choice, "exact_duplicate", facts.content[choice.alive])
    if settings.near is not None:
        alive, near = choice.alive, settings.near_settings()
        groups = components(
            facts.content[alive],
            (facts.band(band)[alive] for band in range(near.bands)),
            lambda row: facts.shingles(int(alive[row])),
            near.threshold,
        )
        _keep_firsts(choice, "near_duplicate", groups)


def _keep_firsts(choice: Choice, name: str, groups: NDArray[Any]) -> None:
    facts, alive = choice.facts, choice.alive
    best = firsts(groups, facts.ranks[alive], -facts.lengths[alive])
    _say_of(choice, name, best, "repeats {}")


def _say_of(choice: Choice, name: str, best: Indices, words: str) -> None:
    """Take out what is not its own ``best``, and name the record that is."""
    ids, kept = choice.facts.ids, choice.alive[best]
    choice.take(
        name,
        best != np.arange(len(best)),
        lambda at: [words.format(said) for said in ids[kept[at]].tolist()],
    )


def _leaks(choice: Choice, items: Callable[[int], str]) -> None:
    struck = {row: number for row, number, _ in choice.facts.hits}
    alive = choice.alive
    gone = np.isin(alive, np.array(sorted(struck), dtype=np.int64))
    choice.take(
        "leak", gone, lambda at: [f"holds {items(struck[row])}" for row in alive[at].tolist()]
    )


def _low(choice: Choice, low: float) -> None:
    scores = -choice.facts.ranks[choice.alive]
    choice.take(
        "score", scores < low, lambda at: [f"{value:.3f} < {low}" for value in scores[at].tolist()]
    )


def _same_meaning(choice: Choice, threshold: float, labels: Labels) -> None:
    facts, alive = choice.facts, choice.alive
    best_first = alive[np.lexsort((-facts.lengths[alive], facts.ranks[alive]))]
    found = semantic_duplicates(facts.vectors, labels, best_first, threshold)
    best = np.arange(len(facts))
    best[list(found)] = list(found.values())
    _say_of(choice, "semantic_duplicate", np.searchsorted(alive, best[alive]), "says what {} says")


def _keep_top(choice: Choice, share: float, labels: Labels) -> None:
    """The best share of every topic, rounded up; the cluster stands for a topic that is empty."""
    facts, alive = choice.facts, choice.alive
    named = np.array([bool(name) for name in facts.names])[facts.topics[alive]]
    groups = np.where(named, facts.topics[alive], len(facts.names) + labels[alive])
    _, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    limits = np.array([max(1, math.ceil(share * size)) for size in sizes.tolist()])
    place = places(groups, facts.ranks[alive], facts.draws[alive])

    def said(at: Indices) -> Sequence[str]:
        count = len(facts.names)
        return [
            "not among the best of "
            + (facts.names[group] if group < count else f"cluster {group - count}")
            for group in groups[at].tolist()
        ]

    choice.take("keep_top", place >= limits[codes], said)


def _balance(choice: Choice, count: int, quota: Quota, labels: Labels) -> None:
    facts, alive = choice.facts, choice.alive
    names, codes, sizes = np.unique(labels[alive], return_inverse=True, return_counts=True)
    given = quotas(dict(zip(names.tolist(), sizes.tolist(), strict=True)), count, quota)
    limits = np.array([given[name] for name in names.tolist()], dtype=np.int64)
    place = places(codes.astype(np.int64), facts.ranks[alive], facts.draws[alive])
    choice.take(
        "balance",
        place >= limits[codes],
        lambda at: [f"cluster {name} has given its share" for name in names[codes[at]].tolist()],
    )
