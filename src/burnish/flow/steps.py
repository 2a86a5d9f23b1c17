"""A step: a pure function from the records of one part to those that stay and those that do not."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import BurnishError
from burnish.flow.parts import PartsFolder, Source, part_name
from burnish.flow.work import Numbers
from burnish.records import Record
from burnish.store import atomic, tables


@dataclass(frozen=True)
class Part:
    """The records of one part, in their order; ``index`` is its number."""

    index: int
    records: Sequence[Record]


@dataclass(frozen=True)
class Removed:
    """A record that a step took out, by id, and why."""

    id: str
    reason: str


@dataclass(frozen=True)
class Sifted:
    """What a step made of a part: records kept, changed or new, in order; and those removed."""

    kept: Sequence[Record]
    removed: Sequence[Removed] = ()


@dataclass(frozen=True)
class Step:
    """A named step.

    ``run`` is sent to other processes: a function of a module, or a ``functools.partial`` of one.
    It must depend on the part and on ``settings`` (JSON) alone, since parts are made in any order
    and a part may be begun more than once. Each record that came in must be kept under its id, be
    named as a parent of a kept one, or be removed.
    """

    name: str
    run: Callable[[Part], Sifted]
    settings: Mapping[str, Any] = field(default_factory=dict)


class LostRecords(BurnishError):
    """A step neither kept nor removed a record."""


@dataclass(frozen=True)
class StepsTask:
    """All steps over one part after the other, into ``part-N.parquet`` and ``removed-N.tsv``.

    The removed are written first: where the part's file is, so is the other.
    """

    source: Source
    steps: tuple[Step, ...]
    folder: Path

    def done(self, index: int) -> bool:
        """Whether the part was made already."""
        return self._path(index).is_file()

    def __call__(self, index: int) -> Numbers:
        """Make a part; returns CPU seconds and records that came in, of each step and in all."""
        began = time.process_time()
        part = Part(index, self.source.read(index))
        numbers: dict[str, float] = {"records": len(part.records)}
        removed: list[tuple[str, str, str]] = []
        for step in self.steps:
            numbers[f"records.{step.name}"] = len(part.records)
            started = time.process_time()
            sifted = step.run(part)
            numbers[f"seconds.{step.name}"] = time.process_time() - started
            _account(step.name, part, sifted)
            removed += [(item.id, step.name, item.reason) for item in sifted.removed]
            part = Part(index, sifted.kept)
        atomic.write_text(self.folder / f"removed-{index:05d}.tsv", _tsv(removed))
        tables.write(self._path(index), part.records)
        return numbers | {"seconds": time.process_time() - began}

    def _path(self, index: int) -> Path:
        return self.folder / f"{part_name(index)}.parquet"


def counts(made: PartsFolder) -> tuple[int, dict[str, int]]:
    """How many records a folder of finished parts keeps, and how many each step removed."""
    removed: Counter[str] = Counter()
    for path in sorted(made.folder.glob("removed-*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            removed.update(row["step"] for row in csv.DictReader(file, dialect="excel-tab"))
    return sum(made.count(index) for index in range(len(made))), dict(sorted(removed.items()))


def _account(name: str, part: Part, sifted: Sifted) -> None:
    seen = {item.id for item in sifted.removed}
    for record in sifted.kept:
        seen.add(record.id)
        seen.update(record.parents)
    lost = [record.id for record in part.records if record.id not in seen]
    if lost:
        raise LostRecords(
            f"step {name!r} neither kept nor removed {len(lost)} of {len(part.records)} records of "
            f"{part_name(part.index)}, such as {lost[0]!r}"
        )


def _tsv(rows: Sequence[tuple[str, str, str]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, dialect="excel-tab", lineterminator="\n")
    writer.writerows([("id", "step", "reason"), *rows])
    return text.getvalue()
