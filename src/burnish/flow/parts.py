"""A parts folder: records in ``part-00000.parquet``, ``part-00001.parquet``, ... and a manifest.

A part is written whole or not at all, and the manifest last, so that a part's file is there if and
only if the part is done, and the manifest if and only if all are. ``tables.iterate`` reads the
folder like any other, in order of the parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import pyarrow.parquet as pq

from burnish.config import InputError, Problem
from burnish.flow.plan import begin, is_finished
from burnish.records import Record
from burnish.store import atomic, manifest, tables

PART_RECORDS = 10_000


class Source(Protocol):
    """Records in parts that any process can read, in any order and as often as it likes.

    A sampler whose part follows from its settings and the part's number is a source too: then
    reading is making, and what was made is kept by the run that reads it. Sources are sent to
    other processes, so they must be picklable.
    """

    @property
    def fingerprint(self) -> str:
        """Differs where the records differ."""
        ...

    def __len__(self) -> int:
        """How many parts there are."""
        ...

    def read(self, index: int) -> Sequence[Record]:
        """The records of a part, the same ones each time."""
        ...


def part_name(index: int) -> str:
    """``part-00042``: with it names sort by number up to a hundred thousand parts."""
    return f"part-{index:05d}"


@dataclass(frozen=True)
class PartsFolder:
    """A finished parts folder as a source of records of one kind."""

    folder: Path
    kind: type[Record]

    @property
    def fingerprint(self) -> str:
        """Over the content of all files, as the manifest gives it."""
        return manifest.content_fingerprint(self.folder)

    def __len__(self) -> int:
        return len(list(self.folder.glob("part-*.parquet")))

    def path(self, index: int) -> Path:
        """Where a part lies."""
        return self.folder / f"{part_name(index)}.parquet"

    def read(self, index: int) -> Sequence[Record]:
        """The records of a part. Raises InputError where one cannot be read."""
        return [] if self.count(index) == 0 else tables.read(self.path(index), self.kind)

    def count(self, index: int) -> int:
        """How many records a part holds, without reading them."""
        return int(pq.read_metadata(self.path(index)).num_rows)


def source_of(
    path: Path, kind: type[Record], work: Path, size: int = PART_RECORDS, rerun: bool = False
) -> PartsFolder:
    """Any data as a source: a finished parts folder as it is, all else cut into ``work``.

    Raises:
        InputError: rows are bad, or ``work`` holds the parts of other data.
    """
    if path.is_dir() and (path / f"{part_name(0)}.parquet").is_file() and is_finished(path):
        return PartsFolder(path, kind)
    return cut(path, kind, work, size, rerun)


def cut(
    path: Path, kind: type[Record], folder: Path, size: int = PART_RECORDS, rerun: bool = False
) -> PartsFolder:
    """Cut a file or folder of records into parts of ``size`` records; an interrupted cut goes on.

    Bad rows raise before the last part is sealed, and name file, line and field.
    """
    if size < 1:
        raise InputError(Problem("", None, "size", f"found {size}", "at least 1 record a part"))
    asked = {"source": manifest.content_fingerprint(path), "kind": kind.__name__, "size": size}
    begin(folder, asked, rerun)
    cut_folder = PartsFolder(folder, kind)
    if not is_finished(folder):
        atomic.sweep(folder)
        for index, records in enumerate(_pieces(tables.iterate(path, kind), size)):
            if not cut_folder.path(index).exists():
                tables.write(cut_folder.path(index), records)
        manifest.seal(folder)
    return cut_folder


def _pieces(records: Iterator[Record], size: int) -> Iterator[list[Record]]:
    while piece := list(islice(records, size)):
        yield piece
