"""Records in files: read from the formats people have, checked; written whole."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from burnish.config import InputError, Problem
from burnish.records import KINDS, Document, Message, Record
from burnish.store import atomic, formats
from burnish.store.layouts import RowError
from burnish.store.rows import record

R = TypeVar("R", bound=Record)

_SHOWN = 20
_FIRST = 50
_JSON_COLUMNS = ("verify", "scores", "objectives")
APPENDED = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
"""What ``writer`` writes."""


def read(
    path: Path | str,
    kind: type[R],
    limit: int | None = None,
    problems: list[Problem] | None = None,
) -> list[R]:
    """Read records of one kind from a file or from all files of a folder.

    Args:
        path: ``.jsonl``, ``.json`` (a list), either with ``.gz``, ``.parquet``, ``.csv``; for
            documents also ``.txt`` and ``.md``: a ``.txt`` file given by itself holds documents
            parted by blank lines, any other text file is one document. Folders are read in order
            of names.
        kind: the class of record wanted; see ``rows.record`` for the layouts that are understood.
        limit: stop after this many records.
        problems: where given, bad rows are added here and left out instead of raised.

    Raises:
        InputError: rows are bad (file, line and field of the first 20 and how many more), no
            record is there, or the file cannot be read.
    """
    return list(iterate(path, kind, limit, problems))


def iterate(
    path: Path | str,
    kind: type[R],
    limit: int | None = None,
    problems: list[Problem] | None = None,
) -> Iterator[R]:
    """As ``read``, one record at a time; without ``problems``, bad rows raise at the end."""
    path = Path(path)
    bad: list[Problem] = [] if problems is None else problems
    count = 0
    for found in islice(_records(path, kind, bad), limit):
        count += 1
        yield found
    if problems is None:
        _refuse(path, bad)
    if count == 0 and not bad and limit != 0:
        raise InputError(Problem(str(path), None, "", "holds no records", _wanted(kind)))


def with_numbers(path: Path | str, kind: type[R], column: str) -> Iterator[tuple[R, float | None]]:
    """Records as ``iterate`` gives them, each with the number in a column of its row.

    Args:
        column: any column, burnish's own or not; ``scores.relevance`` is one inside another. None
            where a row lacks it or has a null.

    Raises:
        InputError: as ``iterate``, and where a row has something else than a finite number there.
    """
    path = Path(path)
    bad: list[Problem] = []
    first, *inner = column.split(".")
    for file, row, found in _parsed(path, kind, bad):
        value: Any = getattr(found, first, row.value.get(first))
        if inner and isinstance(value, str):
            value = _decoded(value)
        for part in inner:
            value = value.get(part) if isinstance(value, dict) else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None or (number and math.isfinite(value)):
            yield found, None if value is None else float(value)
        else:
            bad.append(_problem(file, row, column, f"found {value!r:.80}", "a number"))
    _refuse(path, bad)


def _decoded(text: str) -> Any:
    """What JSON text in a column of Parquet or CSV holds; the text where it is none."""
    try:
        return formats.parse_json(text.encode())
    except ValueError:
        return text


def _refuse(path: Path, bad: Sequence[Problem]) -> None:
    if bad:
        more = len(bad) - _SHOWN
        rest = [Problem(str(path), None, "", f"and {more} more problems")] if more > 0 else []
        raise InputError([*bad[:_SHOWN], *rest])


def _records(path: Path, kind: type[R], bad: list[Problem]) -> Iterator[R]:
    return (found for _, _, found in _parsed(path, kind, bad))


def _parsed(path: Path, kind: type[R], bad: list[Problem]) -> Iterator[tuple[Path, formats.Row, R]]:
    for file in _files(path, kind):
        for row in formats.rows(file, alone=file == path):
            if isinstance(row, Problem):
                bad.append(row)
                continue
            found = parsed(file, row, kind, bad)
            if found is not None:
                yield file, row, found


def parsed(file: Path, row: formats.Row, kind: type[R], bad: list[Problem]) -> R | None:
    """A row of ``file`` as a record; None where it is none, and what is wrong goes to ``bad``."""
    try:
        return record(kind, row.value, formats.stem(file))
    except RowError as error:
        bad += [_problem(file, row, *finding) for finding in error.findings]
        return None


def kind_of(path: Path) -> type[Record] | None:
    """The kind that most of the first rows of a file or folder fit, None where none does.

    Of kinds that fit as well, the first of ``records.KINDS``.

    Raises:
        InputError: nothing is there, or it cannot be read.
    """
    if path.is_file() and not formats.suffix(path):
        return None
    rows = (
        (file, row)
        for file in _files(path, Document)
        for row in formats.rows(file, alone=file == path)
        if isinstance(row, formats.Row)
    )
    first = list(islice(rows, _FIRST))
    fitting = {
        kind: sum(parsed(file, row, kind, []) is not None for file, row in first)
        for kind in KINDS.values()
    }
    best = max(fitting, key=lambda kind: fitting[kind])
    return best if fitting[best] else None


def _problem(file: Path, row: formats.Row, field: str, found: str, expected: str) -> Problem:
    return Problem(str(file), row.line, ".".join(filter(None, (row.where, field))), found, expected)


def _files(path: Path, kind: type[Record]) -> list[Path]:
    accepted = formats.TABLES + formats.TEXTS if kind is Document else formats.TABLES
    if path.is_dir():
        files = [file for file in formats.below(path) if formats.suffix(file) in accepted]
        if not files:
            expected = f"files of these formats: {' '.join(accepted)}"
            raise InputError(Problem(str(path), None, "", "no data in this folder", expected))
        return files
    if formats.suffix(path) not in accepted:
        found = "no such file" if not path.exists() else "a format that is not read"
        expected = f"one of {' '.join(accepted)} with {_wanted(kind)}"
        raise InputError(Problem(str(path), None, "", found, expected))
    return [path]


def _wanted(kind: type[Record]) -> str:
    return f"{kind.__name__.lower()} records"


def write(path: Path | str, records: Iterable[Record]) -> None:
    """Write records to ``.jsonl``, ``.json`` (either with ``.gz``) or ``.parquet``, atomically.

    The same records give the same bytes. ``read`` gives them back equal.

    Raises:
        InputError: the suffix is none of these.
        StorageError: disk full or no permission; an older file at ``path`` is untouched.
        ValueError: a number is NaN or infinite, which JSON cannot hold.
    """
    path = Path(path)
    kind = formats.suffix(path)
    if kind == ".parquet":
        atomic.write_bytes(path, parquet(list(records)))
        return
    rows = (vars(item) for item in records)
    if kind.startswith(".jsonl"):
        data = b"".join(_dump(row) + b"\n" for row in rows)
    elif kind.startswith(".json"):
        data = b"[" + b",\n".join(_dump(row) for row in rows) + b"]\n"
    else:
        expected = "one of .jsonl .jsonl.gz .json .json.gz .parquet"
        raise InputError(Problem(str(path), None, "", "a format that is not written", expected))
    atomic.write_bytes(path, gzip.compress(data, mtime=0) if kind.endswith(".gz") else data)


@contextmanager
def writer(
    path: Path, kind: type[Record], extra: Mapping[str, type] | None = None
) -> Iterator[Callable[[Sequence[dict[str, Any]]], object]]:
    """A function that adds rows to a file, as many at a time as it is given; the file is there,
    whole, when the block ends well.

    Args:
        kind: of the records whose fields the rows hold.
        extra: types of other columns; what is free-form in them (``str``) is written as JSON text
            to Parquet, as it is to JSONL.

    Raises:
        InputError: the suffix is none of ``APPENDED``.
        StorageError: as ``write``.
    """
    form = check_writable(path)
    with atomic.open_file(path) as file:
        if form == ".parquet":
            hints = get_type_hints(kind) | dict(extra or {})
            schema = pa.schema([(name, _column(hint)) for name, hint in hints.items()])
            with pq.ParquetWriter(file, schema, compression="zstd") as table:
                yield lambda rows: table.write_table(
                    pa.Table.from_pylist([_flat(row) for row in rows], schema)
                )
        elif form.endswith(".gz"):
            with (
                gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
                _lines(packed, form) as add,
            ):
                yield add
        else:
            with _lines(file, form) as add:
                yield add


@contextmanager
def _lines(
    file: BinaryIO | gzip.GzipFile, form: str
) -> Iterator[Callable[[Sequence[dict[str, Any]]], object]]:
    """Rows as lines, or as a list of JSON."""
    if form.startswith(".jsonl"):
        yield lambda rows: file.write(b"".join(_dump(row) + b"\n" for row in rows))
        return
    before = itertools.chain([b"["], itertools.repeat(b",\n"))
    yield lambda rows: file.write(b"".join(next(before) + _dump(row) for row in rows))
    file.write(next(before).strip(b",\n") + b"]\n")


def check_writable(path: Path) -> str:
    """The format of a name that ``writer`` takes; raises InputError where it does not."""
    if formats.suffix(path) not in APPENDED:
        expected = f"a name that ends {', '.join(APPENDED)}"
        raise InputError(Problem(str(path), None, "", "a format that is not written", expected))
    return formats.suffix(path)


def _dump(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode()


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Free-form dictionaries as JSON text: Arrow would give every row the keys of all rows."""
    return {
        name: _dump(value).decode()
        if isinstance(value, dict) or (name in _JSON_COLUMNS and value is not None)
        else value
        for name, value in row.items()
    }


def parquet(records: Sequence[Record]) -> bytes:
    """Records of one kind as a Parquet file whose columns have the same types whatever they hold.

    The same records give the same bytes.
    """
    hints = get_type_hints(type(records[0])) if records else {}
    columns = [(name, _column(hint)) for name, hint in hints.items()]
    rows = [_flat({name: getattr(item, name) for name in hints}) for item in records]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(columns)), buffer, compression="zstd")
    return buffer.getvalue()


def _column(hint: Any) -> pa.DataType:
    """The Arrow type of a record's field; what is free-form is JSON text."""
    plain = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    if get_origin(hint) in (list, tuple):
        return pa.list_(_column(get_args(hint)[0]))
    if hint is Message:
        return pa.struct([("role", pa.string()), ("content", pa.string())])
    return plain.get(hint, pa.string())
