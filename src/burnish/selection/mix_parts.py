"""A mix drawn from examples on disk: what is drawn is decided over three facts of each example.

The draw is shuffled, so that neighbours in it lie anywhere in the input. Every part is read once,
and its drawn examples go into pieces by their place in the mix; each piece is then put in order in
memory.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from burnish import flow
from burnish.records import Example, Tier, content_id
from burnish.selection.mix import MixSettings, Pool, draw
from burnish.selection.pyramid import Cell, TierReport, tier_report
from burnish.store import atomic, tables

PIECE = 10_000
"""Examples that are put in order together."""


@dataclass(frozen=True)
class Counts:
    """Examples by cell and by task."""

    cells: Mapping[Cell, int]
    tasks: Mapping[str, int]

    @property
    def examples(self) -> int:
        """How many there are."""
        return sum(self.cells.values())

    @property
    def synthetic(self) -> int:
        """How many of them machines wrote."""
        return sum(count for (_, machine), count in self.cells.items() if machine)


@dataclass(frozen=True)
class Mixed:
    """What there was and what was drawn."""

    before: Counts
    after: Counts
    wanted: Mapping[Tier, float]

    def tiers(self) -> tuple[TierReport, TierReport]:
        """The quality pyramid before and after."""
        return tier_report(self.before.cells), tier_report(self.after.cells, self.wanted or None)

    def report(self) -> dict[str, Any]:
        """All of it as JSON."""
        before, after = self.tiers()
        return {
            "examples": self.after.examples,
            "before": asdict(before),
            "after": asdict(after),
            "tasks_before": dict(self.before.tasks),
            "tasks_after": dict(self.after.tasks),
        }


def mix(
    paths: Sequence[Path],
    output: Path,
    work: Path,
    settings: MixSettings,
    seed: int,
    means: flow.Means | None = None,
) -> Mixed:
    """Write a mix of the examples of ``paths`` to ``output``; their order is no matter.

    An interrupted call goes on; ``work`` is a folder of its own, removed when all is done.

    Raises:
        InputError: a row is bad, or a tier, synthetic or human records are short (by how much).
        WorkFailed: processes died too often on one part.
    """
    tables.check_writable(output)
    means = means or flow.Means()
    with flow.workplace(work):
        source = flow.source_of(paths, Example, work / "source", means.part, rerun=True)
        facts = work / "facts"
        flow.begin(facts, {"source": source.fingerprint}, rerun=True)
        atomic.sweep(facts)
        described = flow.Arrays(source, _describe, facts)
        flow.execute(described, len(source), means.executor, means.progress, "described")
        order = np.argsort(described.gather("keys"), kind="stable")
        pool = _pool(described, order)
        drawn = draw(pool, settings, seed)
        plan = {"source": source.fingerprint, "settings": settings.model_dump(mode="json")}
        flow.begin(work / "drawn", plan | {"seed": seed}, rerun=True)
        pieces = work / "drawn" / "pieces"
        _scatter(source, order[drawn], pieces)
        with tables.writer(output, Example) as add:
            for examples in _ordered(pieces):
                add([vars(_weighed(one, settings)) for one in examples])
    before = Counts(Counter(pool.cells), Counter(pool.tasks))
    after = Counts(Counter(pool.cells[n] for n in drawn), Counter(pool.tasks[n] for n in drawn))
    return Mixed(before, after, settings.tiers)


def _describe(part: flow.Part) -> Mapping[str, NDArray[Any]]:
    examples = cast(Sequence[Example], part.records)
    return {
        "keys": np.array([int(content_id(vars(one)), 16) for one in examples], dtype=np.uint64),
        "tiers": np.array([one.tier for one in examples], dtype=np.str_),
        "synthetic": np.array([one.synthetic for one in examples], dtype=np.bool_),
        "tasks": np.array([one.task for one in examples], dtype=np.str_),
    }


def _pool(described: flow.Arrays, order: NDArray[np.int64]) -> Pool:
    """Equal names are one object each, so that an example takes no more than two references."""
    cells: dict[Cell, Cell] = {}
    names: dict[str, str] = {}
    found_cells, found_tasks = [], []
    for part in range(len(described.source)):
        columns = [described.load(part, name).tolist() for name in ("tiers", "synthetic", "tasks")]
        for tier, synthetic, task in zip(*columns, strict=True):
            found_cells.append(cells.setdefault((tier, synthetic), (tier, synthetic)))
            found_tasks.append(names.setdefault(task, task))
    places = order.tolist()
    return Pool([found_cells[n] for n in places], [found_tasks[n] for n in places])


def _scatter(source: flow.PartsFolder, drawn: NDArray[np.int64], pieces: Path) -> None:
    """Each example that is drawn, with its places in the mix, into the pieces of these places."""
    if pieces.is_dir():
        return
    by_number = np.argsort(drawn, kind="stable")
    ascending = drawn[by_number]
    begin = 0
    with atomic.new_folder(pieces) as folder:
        for part in range(len(source)):
            size = source.count(part)
            first, last = np.searchsorted(ascending, [begin, begin + size])
            numbers, places = ascending[first:last].tolist(), by_number[first:last].tolist()
            lines: dict[int, list[str]] = defaultdict(list)
            records = source.read(part) if last > first else []
            for number, place in zip(numbers, places, strict=True):
                row = json.dumps([place, vars(records[number - begin])], ensure_ascii=False)
                lines[place // PIECE].append(row + "\n")
            for piece, some in lines.items():
                with (folder / f"{piece:05d}.jsonl").open("a", encoding="utf-8") as file:
                    file.writelines(some)
            begin += size


def _ordered(pieces: Path) -> Iterator[list[Example]]:
    for path in sorted(pieces.glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            rows = sorted((json.loads(line) for line in file), key=lambda row: int(row[0]))
        yield [Example(**{**row, "parents": tuple(row["parents"])}) for _, row in rows]


def _weighed(one: Example, settings: MixSettings) -> Example:
    factor = settings.tier_weights.get(one.tier)
    return one if factor is None else replace(one, weight=one.weight * factor)
