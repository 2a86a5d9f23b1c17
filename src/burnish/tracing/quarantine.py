"""Data without what descends from a source or record, and what of a run it has touched."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import pyarrow.parquet as pq

from burnish.config import InputError, Problem
from burnish.store import atomic, formats
from burnish.store.artifacts import Artifact
from burnish.tracing.collect import DataFile, descended, users_of
from burnish.tracing.index import Index

T = TypeVar("T")

_SHOWN = 20


@dataclass
class Quarantine:
    """What was removed: by target and by file; ``affected`` artifacts and how each was touched."""

    named: dict[str, int]
    removed: int = 0
    kept: int = 0
    by_file: dict[str, int] = field(default_factory=dict)
    affected: dict[str, str] = field(default_factory=dict)
    examples: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find(index: Index, targets: Sequence[str], strict: bool = True) -> Quarantine:
    """What a quarantine would remove, without writing anything; the index has it marked then.

    Args:
        index, targets, strict: see ``quarantine``.

    Raises:
        InputError: a target is not found, or a row cannot be read (its origin is then unknown).
    """
    if index.problems:
        more = len(index.problems) - _SHOWN
        rest = [Problem("", None, "", f"and {more} more problems")] if more > 0 else []
        raise InputError(index.problems[:_SHOWN] + rest)
    found = Quarantine(index.mark(targets))
    absent = [name for name, count in found.named.items() if not count]
    if absent and strict:
        expected = "the id of a record, a source, a file, or a parent of records"
        raise InputError([_unknown(index, name, expected) for name in absent])
    _report(index, found)
    return found


def quarantine(
    index: Index, targets: Sequence[str], output: Path, strict: bool = True
) -> Quarantine:
    """Write the files of an index without the records that ``targets`` name and their descendants.

    Files keep their names and formats, rows all of their columns. A file with nothing to remove is
    copied; one with nothing left, and one that holds no records, is left out.

    Args:
        index: of the data; a run brings its artifacts' data and the files it was given.
        targets: see ``Index.mark``.
        output: a folder to make; where the index has one file, a file of the same format may be
            named.
        strict: a target that names nothing is an error. A list of earlier ones may name records
            that other data never had.

    Raises:
        InputError: as ``find``, and where ``output`` is there already.
    """
    found = find(index, targets, strict)
    alone = len(index.files) == 1 and formats.suffix(output) != ""
    if alone and formats.suffix(output) != formats.suffix(index.files[0].path):
        expected = f"the format of the input, {formats.suffix(index.files[0].path)}"
        raise InputError(Problem(str(output), None, "", "another format", expected))
    if output.exists():
        raise InputError(Problem(str(output), None, "", "is there already", "a new name"))
    if alone:
        with atomic.open_file(output) as sink:
            _filter(index.files[0].path, _numbers(index, 0), sink)
    else:
        with atomic.new_folder(output) as temp:
            for number, file in enumerate(index.files):
                _write(file.path, _numbers(index, number), temp / file.label)
    return found


def write_list(index: Index, listed: Path) -> None:
    """Write what an index has marked as JSONL: id, file, line, row, and the chain to its target.

    It is a list of targets for another quarantine.
    """
    with atomic.open_file(listed) as sink:
        for row in removed(index):
            sink.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def targets_of(listed: Path) -> list[str]:
    """The ids in a list that an earlier quarantine wrote; raises InputError."""
    ids, problems = [], []
    for row in formats.rows(listed):
        if isinstance(row, Problem):
            problems.append(row)
        elif not isinstance(row.value.get("id"), str):
            problems.append(Problem(str(listed), row.line, "id", "missing", "a record's id"))
        else:
            ids.append(row.value["id"])
    if problems:
        raise InputError(problems[:_SHOWN])
    return list(dict.fromkeys(ids))


def _unknown(index: Index, name: str, expected: str) -> Problem:
    nearest = ", ".join(index.nearest(name, 3))
    return Problem("", None, name, f"names nothing in {len(index.files)} files", f"{expected}; "
                   f"nearest ids: {nearest}")  # fmt: skip


def _numbers(index: Index, file: int) -> set[int]:
    return {number for _, number, _ in index.marked(file)}


def _report(index: Index, found: Quarantine) -> None:
    touched: list[DataFile] = []
    for number, file in enumerate(index.files):
        ids = [id for id, _, _ in index.marked(number)]
        if ids:
            found.by_file[file.label] = len(ids)
            found.examples.append(index.chain(ids[0]))
            touched.append(file)
    found.removed = sum(found.by_file.values())
    found.kept = len(index) - found.removed
    found.affected = affected(touched, index.collected.artifacts)
    found.notes = index.notes()
    found.notes += [f"left out, holds no records: {path}" for path in index.passed_over]


def affected(files: Sequence[DataFile], artifacts: Sequence[Artifact]) -> dict[str, str]:
    """Artifacts that hold or took one of the files, or were made from one that did; and how."""
    touched = {
        file.artifact.ref: f"holds removed records ({file.path.name})"
        for file in files
        if file.artifact is not None
    }
    for file in files:
        for ref, name in users_of(file, artifacts).items():
            touched.setdefault(ref, f"took {file.path.name} as {name}")
    more = descended(touched, artifacts)
    return touched | {ref: f"was made from {above}" for ref, above in more.items()}


def removed(index: Index) -> Iterator[dict[str, Any]]:
    """Each marked record and why it is: itself, the parents that led to it, what was named."""
    for place, file in enumerate(index.files):
        for id, number, line in index.marked(place):
            why = index.chain(id)
            yield {"id": id, "file": str(file.path), "line": line, "row": number, "why": why}


def _write(path: Path, gone: set[int], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not gone:
        shutil.copyfile(path, target)
        return
    with target.open("wb") as sink:
        left = _filter(path, gone, sink)
    if not left:
        target.unlink()


def _filter(path: Path, gone: set[int], sink: IO[bytes]) -> int:
    """Copy a file without the rows of these numbers; returns how many rows are left.

    Rows are numbered from 0 in the order ``files.records_of`` reads them.
    """
    kind = formats.suffix(path)
    if kind == ".parquet":
        return _filter_parquet(path, gone, sink)
    packed = kind.endswith(".gz")
    opener: Any = gzip.open if packed else open
    with opener(path, "rb") as source, _packed(sink, packed) as target:
        if kind.startswith(".jsonl"):
            return _filter_lines(source, gone, target)
        if kind.startswith(".json"):
            rows = _left(json.load(source), gone)
            target.write(json.dumps(rows, ensure_ascii=False).encode() + b"\n")
            return len(rows)
        text = source.read().decode("utf-8-sig")
        if kind == ".csv":
            return _filter_csv(text, gone, target)
        documents = _left(_blocks(text) if kind == ".txt" else [text], gone)
        target.write("\n\n".join(documents).encode())
        return len(documents)


@contextmanager
def _packed(sink: IO[bytes], packed: bool) -> Iterator[IO[bytes]]:
    if not packed:
        yield sink
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=sink, mtime=0) as file:
        yield cast(IO[bytes], file)


def _left(rows: Sequence[T], gone: set[int]) -> list[T]:
    return [row for number, row in enumerate(rows) if number not in gone]


def _filter_lines(source: IO[bytes], gone: set[int], target: IO[bytes]) -> int:
    left = 0
    filled = (line for line in source if line.strip())
    for number, line in enumerate(filled):
        if number not in gone:
            target.write(line)
            left += 1
    return left


def _blocks(content: str) -> list[str]:
    """The documents of a ``.txt`` file: parted by blank lines."""
    blocks, block = [], list[str]()
    for line in [*content.split("\n"), ""]:
        if line.strip():
            block.append(line)
        elif block:
            blocks.append("\n".join(block))
            block = []
    return blocks


def _filter_csv(content: str, gone: set[int], target: IO[bytes]) -> int:
    header, *rows = [row for row in csv.reader(io.StringIO(content, newline="")) if row]
    left = _left(rows, gone)
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([header, *left])
    target.write(text.getvalue().encode())
    return len(left)


def _filter_parquet(path: Path, gone: set[int], sink: IO[bytes]) -> int:
    start = left = 0
    with pq.ParquetFile(path) as source:
        schema = source.schema_arrow
        with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
            for batch in source.iter_batches():
                keep = [at for at in range(batch.num_rows) if start + at not in gone]
                writer.write_batch(batch.take(keep))
                start += batch.num_rows
                left += len(keep)
    return left
