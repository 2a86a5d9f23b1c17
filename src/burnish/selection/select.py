"""Choosing records by score and diversity, in one pass with a funnel.

Steps, in this order, each only where its setting is given: records whose score is missing, exact
duplicates, near duplicates (MinHash), overlap with evaluation sets, lowest score, duplicates in
meaning, the best share of every topic, and a sample balanced over clusters. What comes out depends
on the contents of the records and the seed, not on the order of the input.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field, PositiveInt

from burnish.config import InputError, Problem, Settings
from burnish.records import Prompt, Record
from burnish.selection.clusters import (
    Diversity,
    Labels,
    Quota,
    cluster,
    cluster_count,
    diversity,
    quotas,
    semantic_duplicates,
)
from burnish.selection.decontaminate import DecontaminateSettings, Hit, find_leaks
from burnish.selection.dedup import Clusters, DedupSettings, exact_duplicates, near_duplicates
from burnish.selection.embed import EmbedSettings, Vectors, embed
from burnish.selection.filters import Removed, Step, best_within
from burnish.selection.texts import texts_of
from burnish.store import atomic, tables

R = TypeVar("R", bound=Record)
Topic = Literal["topic", "task", "source", "cluster"]


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


@dataclass(frozen=True)
class Gone:
    """A record that was left out, by which step and why."""

    id: str
    step: str
    reason: str


@dataclass(frozen=True)
class Spread:
    """Diversity of what came in, of what was kept, and of as many drawn at random."""

    before: Diversity
    after: Diversity
    random: Diversity


@dataclass(frozen=True)
class Selection(Generic[R]):
    """The records kept, in their order; what was removed; the funnel; evaluation items hit."""

    kept: list[R]
    removed: list[Gone]
    funnel: list[Step[Removed]]
    hits: list[Hit]
    spread: Spread

    def report(self) -> dict[str, Any]:
        """The funnel, what was hit and the spread, as JSON."""
        struck = Counter(task for task, _ in {(hit.task, hit.item_id) for hit in self.hits})
        spread = {
            name: {**asdict(found), "nearest": found.mean_nearest}
            for name, found in vars(self.spread).items()
        }
        return {
            "entered": self.spread.before.records,
            "kept": len(self.kept),
            "funnel": [asdict(step) for step in self.funnel],
            "evaluation_items_hit": dict(struck),
            "spread": spread,
        }

    def write_lists(self, prefix: Path) -> list[Path]:
        """``PREFIX.removed.tsv`` and, where evaluation items were hit, ``PREFIX.hits.tsv``."""
        gone = [("id", "step", "reason"), *((one.id, one.step, one.reason) for one in self.removed)]
        hits = [("id", "task", "item", "coverage", "excerpt")]
        hits += [
            (hit.record_id, hit.task, hit.item_id, f"{hit.coverage:.3f}", hit.excerpt)
            for hit in self.hits
        ]
        lists = {"removed": gone} | ({"hits": hits} if self.hits else {})
        for name, rows in lists.items():
            text = io.StringIO()
            csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
            atomic.write_text(prefix.with_name(f"{prefix.name}.{name}.tsv"), text.getvalue())
        return [prefix.with_name(f"{prefix.name}.{name}.tsv") for name in lists]


def read(
    paths: Sequence[Path], kind: type[R], score: str | None
) -> tuple[list[R], list[float | None] | None]:
    """The records of files, and the numbers in their column ``score`` where one is named.

    Raises:
        InputError: a row is bad, or none has a number in that column.
    """
    if score is None:
        return [record for path in paths for record in tables.read(path, kind)], None
    rows = [row for path in paths for row in tables.with_numbers(path, kind, score)]
    if all(number is None for _, number in rows):
        found = f"none of {len(rows)} records has a number there"
        raise InputError(Problem(", ".join(map(str, paths)), None, score, found))
    return [record for record, _ in rows], [number for _, number in rows]


def select(
    records: Sequence[R],
    settings: SelectSettings,
    *,
    scores: Sequence[float | None] | None = None,
    evaluations: Mapping[str, Sequence[Prompt]] | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> Selection[R]:
    """Run the steps of ``settings`` over ``records``.

    Args:
        scores: one a record, higher is better; a record with None is left out.
        evaluations: items by the name of their evaluation set; records that hold one are left out.
        cache: where embeddings are kept, see ``embed``.

    Raises:
        InputError: a step needs scores and there are none, or an optional package is missing.
    """
    _check(settings, scores)
    # In an order of contents, so that clusters do not depend on the order of the input.
    digests = [hashlib.sha256("\x1f".join(texts_of(one)).encode()).hexdigest() for one in records]
    order = sorted(range(len(records)), key=lambda index: (digests[index], records[index].id))
    pool = _Pool(
        [records[index] for index in order],
        [digests[index] for index in order],
        None if scores is None else [scores[index] for index in order],
        settings.examples,
    )
    vectors = embed(pool.texts, settings.embed, cache)
    labels = cluster(vectors, settings.clusters or cluster_count(len(records)), seed)
    hits = _leave_out(pool, settings, evaluations or {}, vectors, labels)
    _keep_best(pool, settings, labels, seed)
    everything = list(range(len(records)))
    drawn = sorted(everything, key=pool.drawn(seed))[: len(pool.alive)]
    spread = Spread(*(diversity(vectors, labels, r) for r in (everything, pool.alive, drawn)))
    kept = sorted(order[index] for index in pool.alive)
    return Selection([records[i] for i in kept], pool.removed, pool.funnel, hits, spread)


def _check(settings: SelectSettings, scores: Sequence[float | None] | None) -> None:
    if scores is None:
        problems = [
            Problem("", None, name, "needs scores, and there are none", "the column they are in")
            for name in ("min_score", "keep_top")
            if getattr(settings, name) is not None
        ]
        if problems:
            raise InputError(problems)
    if settings.count is not None and settings.share is not None:
        raise InputError(Problem("", None, "count", "given beside share", "one of the two"))


class _Pool(Generic[R]):
    """Records in an order of contents, which of them are ``alive``, and what became of the rest."""

    def __init__(
        self,
        records: Sequence[R],
        digests: Sequence[str],
        scores: Sequence[float | None] | None,
        examples: int,
    ) -> None:
        self.records, self.scores = records, scores
        self.texts = ["\n".join(texts_of(record)) for record in records]
        self.alive = list(range(len(records)))
        self.removed: list[Gone] = []
        self.funnel: list[Step[Removed]] = []
        self._digests, self._examples = digests, examples

    def score(self, index: int) -> float:
        """The score of a record, 0 where it has none."""
        return 0.0 if self.scores is None else self.scores[index] or 0.0

    def drawn(self, seed: int) -> Callable[[int], str]:
        """A key that puts records into a random order set by their contents and the seed."""
        return lambda index: hashlib.sha256(
            f"{seed}:{self._digests[index]}:{self.records[index].id}".encode()
        ).hexdigest()

    def remove(self, name: str, reasons: Mapping[int, str]) -> None:
        """Take out the records with a reason and write the step down."""
        gone = [index for index in self.alive if index in reasons]
        shown = [self._shown(index, reasons[index]) for index in gone[: self._examples]]
        self.funnel.append(Step(name, len(self.alive), len(self.alive) - len(gone), shown))
        self.removed += [Gone(self.records[i].id, name, reasons[i]) for i in gone]
        self.alive = [index for index in self.alive if index not in reasons]

    def _shown(self, index: int, reason: str) -> Removed:
        first, *rest = texts_of(self.records[index])
        return Removed(self.records[index].id, first, rest[-1] if rest else "", reason)


def _leave_out(
    pool: _Pool[R],
    settings: SelectSettings,
    evaluations: Mapping[str, Sequence[Prompt]],
    vectors: Vectors,
    labels: Labels,
) -> list[Hit]:
    """The steps that judge a record by itself or by what it repeats."""
    if pool.scores is not None:
        missing = [index for index in pool.alive if pool.scores[index] is None]
        pool.remove("unscored", dict.fromkeys(missing, "has no score"))
    if settings.exact:
        pool.remove("exact_duplicate", _repeats(pool, exact_duplicates))
    if settings.near is not None:
        dedup = DedupSettings(threshold=settings.near)
        found = _repeats(pool, lambda texts: near_duplicates(texts, dedup))
        pool.remove("near_duplicate", found)
    hits: list[Hit] = []
    if evaluations:
        alive = [pool.records[index] for index in pool.alive]
        hits = find_leaks(alive, evaluations, settings.leaks).hits
        struck = {hit.record_id: f"holds {hit.item_id} of {hit.task}" for hit in hits}
        ids = {index: pool.records[index].id for index in pool.alive}
        pool.remove("leak", {i: struck[id] for i, id in ids.items() if id in struck})
    if settings.min_score is not None:
        low = settings.min_score
        below = [index for index in pool.alive if pool.score(index) < low]
        pool.remove("score", {index: f"{pool.score(index):.3f} < {low}" for index in below})
    if settings.semantic is not None:
        best = sorted(pool.alive, key=lambda index: (-pool.score(index), -len(pool.texts[index])))
        found = {
            index: f"says what {pool.records[kept].id} says"
            for index, kept in semantic_duplicates(vectors, labels, best, settings.semantic).items()
        }
        pool.remove("semantic_duplicate", found)
    return hits


def _repeats(pool: _Pool[R], find: Callable[[Sequence[str]], Clusters]) -> dict[int, str]:
    """Records that repeat another: of each group the best score stays, then the longest text."""
    groups = find([pool.texts[index] for index in pool.alive]).clusters
    reasons: dict[int, str] = {}
    for group in groups:
        rows = [pool.alive[place] for place in group]
        rows.sort(key=lambda index: (-pool.score(index), -len(pool.texts[index]), index))
        reasons |= dict.fromkeys(rows[1:], f"repeats {pool.records[rows[0]].id}")
    return reasons


def _keep_best(pool: _Pool[R], settings: SelectSettings, labels: Labels, seed: int) -> None:
    """The steps that choose among what could be kept."""
    drawn = pool.drawn(seed)
    if settings.keep_top is not None:
        rows = [
            (_topic(pool.records[index], settings.within, int(labels[index])),
             pool.score(index), drawn(index))
            for index in pool.alive
        ]  # fmt: skip
        best = best_within(rows, settings.keep_top)
        losers = [place for place in range(len(rows)) if place not in best]
        pool.remove("keep_top", {
            pool.alive[place]: f"not among the best of {rows[place][0]}" for place in losers
        })  # fmt: skip
    count = settings.count
    if settings.share is not None:
        count = max(1, round(settings.share * len(pool.records)))
    if count is None:
        return
    sizes = Counter(int(labels[index]) for index in pool.alive)
    left = dict(quotas(sizes, count, settings.quota))
    reasons = {}
    for index in sorted(pool.alive, key=lambda index: (-pool.score(index), drawn(index))):
        name = int(labels[index])
        if left[name] > 0:
            left[name] -= 1
        else:
            reasons[index] = f"cluster {name} has given its share"
    pool.remove("balance", reasons)


def _topic(record: Record, within: Topic, label: int) -> str:
    found = "" if within == "cluster" else str(getattr(record, within, ""))
    return found or f"cluster {label}"
