"""Choosing records by score and diversity, in one pass with a funnel, at any size.

Steps, in this order, each only where its setting is given: records whose score is missing, exact
duplicates, near duplicates (MinHash), overlap with evaluation sets, lowest score, duplicates in
meaning, the best share of every topic, and a sample balanced over clusters. What comes out depends
on the contents of the records and the seed, not on the order of the input.

``facts`` finds out part by part what has to be known of each record, ``choose`` decides.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish import flow
from burnish.records import Prompt, Record
from burnish.selection.choose import Choice, SelectSettings, choose
from burnish.selection.clusters import Diversity, cluster, cluster_count, diversity
from burnish.selection.decontaminate import Hit, Leaks
from burnish.selection.facts import Asked, Facts, find
from burnish.selection.filters import Removed, Step
from burnish.selection.texts import texts_of
from burnish.store import atomic, tables

AT_ONCE = 10_000


@dataclass(frozen=True)
class Spread:
    """Diversity of what came in, of what was kept, and of as many drawn at random."""

    before: Diversity
    after: Diversity
    random: Diversity


@dataclass(frozen=True)
class Selection:
    """How many were kept, the funnel, evaluation items hit; ``lists`` are the files beside the
    output that say more."""

    kept: int
    funnel: list[Step[Removed]]
    hits: list[Hit]
    spread: Spread
    lists: list[Path]

    def report(self) -> dict[str, Any]:
        """The funnel, what was hit and the spread, as JSON."""
        struck = Counter(task for task, _ in {(hit.task, hit.item_id) for hit in self.hits})
        spread = {
            name: {**asdict(found), "nearest": found.mean_nearest}
            for name, found in vars(self.spread).items()
        }
        return {
            "entered": self.spread.before.records,
            "kept": self.kept,
            "funnel": [asdict(step) for step in self.funnel],
            "evaluation_items_hit": dict(struck),
            "spread": spread,
        }


def select(
    paths: Sequence[Path],
    kind: type[Record],
    output: Path,
    work: Path,
    settings: SelectSettings,
    *,
    score: str | None = None,
    evaluations: Mapping[str, Sequence[Prompt]] | None = None,
    seed: int = 0,
    means: flow.Means | None = None,
    cache: Path | None = None,
    lists: Path | None = None,
) -> Selection:
    """Write those records of ``paths`` that are kept to ``output``, in their order.

    ``LISTS.removed.tsv`` (id, step, reason) says what was not and, where evaluation items were hit,
    ``LISTS.hits.tsv`` which. An interrupted call goes on; ``work`` is removed when all is done.

    Args:
        output: a file that ``tables.writer`` writes.
        work: a folder of this call's own.
        score: a column of numbers, higher is better; a record without one is left out.
        evaluations: items by the name of their evaluation set; records that hold one are left out.
        cache: a folder where vectors are kept for another time.
        lists: how the names of these lists begin; as ``output`` unless given.

    Raises:
        InputError: a row is bad, a step needs scores and there are none, or an optional package is
            missing.
        WorkFailed: processes died too often on one part.
    """
    tables.check_writable(output)
    settings.check(scored=score is not None)
    means = means or flow.Means()
    with flow.workplace(work):
        if score is None:
            source = flow.source_of(paths, kind, work / "source", means.part, rerun=True)
        else:
            source = flow.cut(paths, kind, work / "source", means.part, rerun=True, column=score)
        leaks = Leaks(evaluations or {}, settings.leaks)
        asked = Asked(settings.near_settings(), leaks, settings.within, settings.embed, seed)
        facts_of = work / "facts"
        flow.begin(facts_of, {"source": source.fingerprint, **asked.plan()}, rerun=True)
        scores = None if score is None else flow.numbers(source)
        facts = find(source, scores, asked, facts_of, means.executor, means.progress, cache)
        choice, spread = _chosen(facts, settings, leaks if evaluations else None, seed)
        hits = _hits(choice, leaks)
        written = _write_lists(choice, hits, lists or output)
        funnel = _write_kept(source, choice, output, settings.examples)

    return Selection(len(choice.alive), funnel, hits, spread, written)


def _chosen(
    facts: Facts, settings: SelectSettings, leaks: Leaks | None, seed: int
) -> tuple[Choice, Spread]:
    labels = cluster(facts.vectors, settings.clusters or cluster_count(len(facts)), seed)
    choice = choose(facts, settings, labels, None if leaks is None else leaks.name)
    drawn = np.argsort(facts.draws, kind="stable")[: len(choice.alive)]
    sets = (np.arange(len(facts)), choice.alive, drawn)
    return choice, Spread(*(diversity(facts.vectors, labels, rows) for rows in sets))


def _write_kept(
    source: flow.PartsFolder, choice: Choice, output: Path, examples: int
) -> list[Step[Removed]]:
    """Write what is kept, and look at what the funnel shows on the way."""
    shown = _Shown(choice, examples)
    kept = np.zeros(len(choice.facts), dtype=bool)
    kept[choice.facts.order[choice.alive]] = True
    with tables.writer(output, source.kind) as add:
        for records in _kept(source, kept, shown):
            add([vars(record) for record in records])
    return shown.funnel()


def _kept(
    source: flow.PartsFolder, kept: NDArray[np.bool_], shown: _Shown
) -> Iterator[list[Record]]:
    """The records of each part that are kept; those that the funnel shows are looked at."""
    begin = 0
    for part in range(len(source)):
        records = source.read(part)
        for row in shown.wanted(begin, begin + len(records)):
            shown.see(row, records[row - begin])
        yield [record for row, record in enumerate(records) if kept[begin + row]]
        begin += len(records)


class _Shown:
    """The first records that each step took out, for the funnel."""

    def __init__(self, choice: Choice, examples: int) -> None:
        self._choice, self._examples = choice, examples
        self._rows = [choice.facts.order[step.rows[:examples]].tolist() for step in choice.steps]
        self._wanted = sorted({row for rows in self._rows for row in rows})
        self._seen: dict[int, tuple[str, list[str]]] = {}

    def wanted(self, first: int, last: int) -> list[int]:
        """Those between two numbers of the input."""
        return [row for row in self._wanted if first <= row < last]

    def see(self, row: int, record: Record) -> None:
        """Note what a record says."""
        self._seen[row] = (record.id, texts_of(record))

    def funnel(self) -> list[Step[Removed]]:
        """What each step did; all that are wanted were seen."""
        steps = []
        for step, rows in zip(self._choice.steps, self._rows, strict=True):
            examples = [
                Removed(id, first, rest[-1] if rest else "", reason)
                for (id, (first, *rest)), reason in zip(
                    (self._seen[row] for row in rows),
                    step.reasons(np.arange(len(rows))),
                    strict=True,
                )
            ]
            left = step.entered - len(step.rows)
            steps.append(Step(step.name, step.entered, left, examples))
        return steps


def _hits(choice: Choice, leaks: Leaks) -> list[Hit]:
    """The hits of records that were still there when evaluations were compared."""
    there = {row for step in choice.steps if step.name == "leak" for row in step.rows.tolist()}
    found = [hit for hit in choice.facts.hits if hit[0] in there]
    ids = choice.facts.ids[np.array([row for row, _, _ in found], dtype=np.int64)]
    return [
        leaks.hit(str(id), number, share)
        for id, (_, number, share) in zip(ids.tolist(), found, strict=True)
    ]


def _write_lists(choice: Choice, hits: Sequence[Hit], prefix: Path) -> list[Path]:
    paths = [prefix.with_name(f"{prefix.name}.removed.tsv")]
    with atomic.open_file(paths[0]) as file:
        file.write(_tsv([("id", "step", "reason")]))
        for step in choice.steps:
            for start in range(0, len(step.rows), AT_ONCE):
                some = np.arange(start, min(start + AT_ONCE, len(step.rows)))
                ids = choice.facts.ids[step.rows[some]].tolist()
                reasons = step.reasons(some)
                file.write(_tsv([(i, step.name, why) for i, why in zip(ids, reasons, strict=True)]))
    if hits:
        paths.append(prefix.with_name(f"{prefix.name}.hits.tsv"))
        rows = [
            (hit.record_id, hit.task, hit.item_id, f"{hit.coverage:.3f}", hit.excerpt)
            for hit in hits
        ]
        head = ("id", "task", "item", "coverage", "excerpt")
        atomic.write_bytes(paths[1], _tsv([head, *rows]))
    return paths


def _tsv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
