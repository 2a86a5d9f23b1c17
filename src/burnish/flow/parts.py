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
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from burnish.config import InputError, Problem
from burnish.flow.plan import begin, is_finished
from burnish.records import Record
from burnish.store import atomic, manifest, tables

R = TypeVar("R", bound=Record)

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
        return read_part(self.path(index), self.kind)

    def count(self, index: int) -> int:
        """How many records a part holds, without reading them."""
        return _count(self.path(index))


def read_part(path: Path, kind: type[R]) -> Sequence[R]:
    """The records of a Parquet file, which may hold none."""
    return [] if _count(path) == 0 else tables.read(path, kind)


def _count(path: Path) -> int:
    return int(pq.read_metadata(path).num_rows)


def source_of(
    paths: Path | Sequence[Path],
    kind: type[Record],
    work: Path,
    size: int = PART_RECORDS,
    rerun: bool = False,
) -> PartsFolder:
    """Any data as a source: one finished parts folder as it is, all else cut into ``work``.

    Raises:
        InputError: rows are bad, or ``work`` holds the parts of other data.
    """
    paths = [paths] if isinstance(paths, Path) else paths
    if len(paths) == 1 and paths[0].is_dir():
        there = PartsFolder(paths[0], kind)
        if there.path(0).is_file() and is_finished(there.folder):
            return there
    return cut(paths, kind, work, size, rerun)


def cut(
    paths: Path | Sequence[Path],
    kind: type[Record],
    folder: Path,
    size: int = PART_RECORDS,
    rerun: bool = False,
    column: str | None = None,
) -> PartsFolder:
    """Cut files and folders of records, one after the other, into parts of ``size`` records.

    An interrupted cut goes on. Bad rows raise before the last part is sealed, and name file, line
    and field. The numbers in a ``column``, burnish's own or not, are kept: see ``numbers``.

    Raises:
        InputError: rows are bad, none has a number in ``column``, or the folder holds other work.
    """
    if size < 1:
        raise InputError(Problem("", None, "size", f"found {size}", "at least 1 record a part"))
    paths = [paths] if isinstance(paths, Path) else paths
    if missing := [path for path in paths if not path.exists()]:
        raise InputError([Problem(str(path), None, "", "no such file") for path in missing])
    asked = {
        "source": [manifest.content_fingerprint(path) for path in paths],
        "kind": kind.__name__,
        "size": size,
        "column": column,
    }
    begin(folder, asked, rerun)
    cut_folder = PartsFolder(folder, kind)
    if not is_finished(folder):
        atomic.sweep(folder)
        rows = (row for path in paths for row in _numbered(path, kind, column))
        for index, piece in enumerate(_pieces(rows, size)):
            if cut_folder.path(index).exists():
                continue
            if column is not None:
                _write_numbers(folder, index, [number for _, number in piece])
            tables.write(cut_folder.path(index), [record for record, _ in piece])
        if column is not None and np.isnan(numbers(cut_folder)).all():
            found = f"none of {len(numbers(cut_folder))} records has a number there"
            raise InputError(Problem(", ".join(map(str, paths)), None, column, found))
        manifest.seal(folder)
    return cut_folder


def numbers(parts: PartsFolder) -> NDArray[np.float64]:
    """``[records]``: the numbers of the column that a folder was cut with, NaN where none was."""
    found = [np.load(_numbers_path(parts.folder, index)) for index in range(len(parts))]
    return np.concatenate(found) if found else np.zeros(0)


def _numbers_path(folder: Path, index: int) -> Path:
    return folder / f"numbers-{index:05d}.npy"


def _write_numbers(folder: Path, index: int, found: Sequence[float | None]) -> None:
    with atomic.open_file(_numbers_path(folder, index)) as file:
        np.save(file, np.array(found, dtype=np.float64), allow_pickle=False)


def _numbered(
    path: Path, kind: type[Record], column: str | None
) -> Iterator[tuple[Record, float | None]]:
    if column is not None:
        return tables.with_numbers(path, kind, column)
    return ((record, None) for record in tables.iterate(path, kind))


def _pieces(rows: Iterator[tuple[Record, float | None]], size: int) -> Iterator[list[Any]]:
    while piece := list(islice(rows, size)):
        yield piece
