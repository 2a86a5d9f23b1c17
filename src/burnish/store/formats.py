"""Raw rows out of a file, whatever its format, each with its place or what is wrong with it."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from burnish.config import InputError, Problem

TABLES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet", ".csv")
TEXTS = (".txt", ".md")
_MAX_LINE = 64 * 2**20
_TORN = "the file ends in the middle of this record"
_TORN_HINT = "a whole line; was its writer interrupted? delete the line or write the file again"


@dataclass(frozen=True)
class Row:
    """One raw record: ``where`` is the path of it inside a file without lines, as ``[3]``."""

    value: dict[str, Any]
    line: int | None = None
    where: str = ""


def suffix(path: Path) -> str:
    """The format by name: one of ``TABLES`` or ``TEXTS``, or '' for any other."""
    name = path.name.lower()
    return next((known for known in (*TABLES, *TEXTS) if name.endswith(known)), "")


def stem(path: Path) -> str:
    """The name without its format: ``sft`` for ``data/sft.jsonl.gz``."""
    return path.name[: -len(suffix(path))] if suffix(path) else path.name


def rows(path: Path) -> Iterator[Row | Problem]:
    """The rows of a table in order; a row that cannot be decoded comes as a Problem.

    Raises:
        InputError: the file as a whole cannot be read.
    """
    kind = suffix(path)
    try:
        if kind == ".parquet":
            yield from _parquet(path)
        elif kind == ".csv":
            yield from _csv(path)
        else:
            opener: Any = gzip.open if kind.endswith(".gz") else open
            with opener(path, "rb") as file:
                yield from _jsonl(path, file) if "jsonl" in kind else _json(path, file)
    except FileNotFoundError:
        raise InputError(Problem(str(path), None, "", "no such file")) from None
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        found = f"cannot be read as {kind}: {error}".splitlines()[0]
        raise InputError(Problem(str(path), None, "", found, _whole(kind))) from None


def _whole(kind: str) -> str:
    return "a complete file; was the copy cut short?" if kind in (".parquet", ".jsonl.gz") else ""


def text(path: Path) -> str:
    """A text file's content as UTF-8, without a byte-order mark; raises InputError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(Problem(str(path), None, "", "no such file")) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(Problem(str(path), line, "", "not UTF-8", "text in UTF-8")) from None
    except OSError as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}")) from None


def _jsonl(path: Path, file: BinaryIO) -> Iterator[Row | Problem]:
    number = 0
    while raw := file.readline(_MAX_LINE + 1):
        number += 1
        if len(raw) > _MAX_LINE:
            found = f"a line of more than {_MAX_LINE // 2**20} MiB"
            raise InputError(Problem(str(path), number, "", found, "one JSON object a line"))
        if not raw.strip():
            continue
        try:
            value = parse_json(raw)
        except ValueError as error:
            if raw.lstrip().startswith(b"{") and not raw.endswith(b"\n"):
                yield Problem(str(path), number, "", _TORN, _TORN_HINT)
            else:
                yield Problem(str(path), number, "", f"not valid JSON: {error}", "a JSON object")
            continue
        yield _row(path, value, number)


def _json(path: Path, file: BinaryIO) -> Iterator[Row | Problem]:
    try:
        value = parse_json(file.read())
    except ValueError as error:
        line = getattr(error, "lineno", None)
        yield Problem(str(path), line, "", f"not valid JSON: {error}", "a list of objects")
        return
    if not isinstance(value, list):
        yield Problem(str(path), None, "", f"found {_name(value)}", "a list of objects")
        return
    for index, item in enumerate(value):
        yield _row(path, item, None, f"[{index}]")


def _row(path: Path, value: Any, line: int | None, where: str = "") -> Row | Problem:
    if isinstance(value, dict):
        return Row(value, line, where)
    return Problem(str(path), line, where, f"found {_name(value)}", "an object of named fields")


def _name(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", type(None): "null"}
    return kinds.get(type(value), "a number")


def parse_json(raw: bytes) -> Any:
    """Strict JSON from UTF-8: no NaN, no half surrogate pairs, no bottomless nesting.

    Raises:
        ValueError: says what is wrong.
    """
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if b"\\ud" in raw or b"\\uD" in raw:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("half of a surrogate pair in a string") from None
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _parquet(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                yield Row(value, None, f"[{number}]")
                number += 1


def _csv(path: Path) -> Iterator[Row | Problem]:
    csv.field_size_limit(_MAX_LINE)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for value in reader:
                if None in value:
                    expected = f"{len(reader.fieldnames or ())} fields as in the header"
                    yield Problem(str(path), reader.line_num, "", "too many fields", expected)
                else:
                    filled = {key: item for key, item in value.items() if item not in (None, "")}
                    yield Row(filled, reader.line_num)
        except csv.Error as error:
            yield Problem(str(path), reader.line_num, "", f"not valid CSV: {error}")
        except UnicodeDecodeError:
            yield Problem(str(path), reader.line_num + 1, "", "not UTF-8", "CSV in UTF-8")
