"""Raw rows out of a file, whatever its format, each with its place or what is wrong with it."""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from burnish.config import InputError, Problem
from burnish.store.jsonlists import ListError, NotJson, elements, is_text, refuse_constant, whole
from burnish.store.names import holds_records
from burnish.store.streams import open_bytes

TABLES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet", ".csv")
TEXTS = (".txt", ".md")
_MAX_LINE = 64 * 2**20
_TORN = "the file ends in the middle of this record"
_TORN_HINT = "a whole line; was its writer interrupted? delete the line or write the file again"
_NOT_UTF8 = "not UTF-8"

Opener = Callable[[Path], BinaryIO]


@dataclass(frozen=True)
class Row:
    """One raw record: ``where`` is the path of it inside a list or table, as ``[3]``."""

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


def below(folder: Path) -> list[Path]:
    """The data files below a folder in order of names, without hidden ones and burnish's own."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.is_file()
        and holds_records(file)
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    ]


def rows(path: Path, alone: bool = False, opened: Opener = open_bytes) -> Iterator[Row | Problem]:
    """The rows of a file in order; a row that cannot be decoded comes as a Problem.

    Args:
        path: a file whose format ``suffix`` knows.
        alone: a ``.txt`` file holds documents parted by blank lines; otherwise it is one document,
            as a ``.md`` file always is.
        opened: how its bytes are had, in UTF-8.

    Raises:
        InputError: the file as a whole cannot be read.
    """
    kind = suffix(path)
    try:
        if kind == ".parquet":
            yield from _parquet(path)
            return
        with opened(path) as file:
            if kind == ".csv":
                yield from _csv(path, file)
            elif kind in TEXTS:
                yield from (
                    _paragraphs(path, file) if alone and kind == ".txt" else _text(path, file)
                )
            else:
                yield from _jsonl(path, file) if "jsonl" in kind else _json(path, file)
    except FileNotFoundError:
        raise InputError(Problem(str(path), None, "", "no such file")) from None
    except (OSError, EOFError, zlib.error, pa.ArrowException, UnicodeDecodeError) as error:
        found = f"cannot be read as {kind}: {error}".splitlines()[0]
        raise InputError(Problem(str(path), None, "", found, _whole(kind))) from None


def _whole(kind: str) -> str:
    return "a complete file; was the copy cut short?" if kind in (".parquet", ".jsonl.gz") else ""


def _lines(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes | Problem]]:
    """Numbered lines with their ends; one that is too long to hold is passed over."""
    number = 0
    while raw := file.readline(_MAX_LINE + 1):
        number += 1
        if len(raw) <= _MAX_LINE:
            yield number, raw
            continue
        while raw and not raw.endswith(b"\n"):
            raw = file.readline(_MAX_LINE)
        found = f"a line of more than {_MAX_LINE // 2**20} MiB"
        yield number, Problem(str(path), number, "", found, "one record a line")


def _jsonl(path: Path, file: BinaryIO) -> Iterator[Row | Problem]:
    for number, raw in _lines(path, file):
        if isinstance(raw, Problem):
            yield raw
            continue
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
        for index, (line, value) in enumerate(elements(file)):
            if isinstance(value, NotJson):
                found = f"not valid JSON: {value}"
                yield Problem(str(path), line, f"[{index}]", found, "an object of named fields")
            else:
                yield _row(path, value, line, f"[{index}]")
    except ListError as error:
        yield Problem(str(path), error.line, "", error.found, "a list of objects")


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
        text = raw.decode("utf-8-sig")
        value = json.loads(text, parse_constant=refuse_constant)
    except UnicodeDecodeError:
        raise ValueError(_NOT_UTF8) from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not whole(value, text):
        raise ValueError("half of a surrogate pair in a string")
    return value


def _parquet(path: Path) -> Iterator[Row]:
    with pq.ParquetFile(path) as file:
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                yield Row(value, None, f"[{number}]")
                number += 1


def _csv(path: Path, file: BinaryIO) -> Iterator[Row | Problem]:
    csv.field_size_limit(_MAX_LINE)
    # Bytes that are not UTF-8 are kept aside, so that only their own rows are lost.
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text, strict=True)
    try:
        for value in reader:
            if None in value:
                expected = f"{len(reader.fieldnames or ())} fields as in the header"
                yield Problem(str(path), reader.line_num, "", "too many fields", expected)
                continue
            filled = {key: item for key, item in value.items() if item not in (None, "")}
            if all(is_text(item) for item in filled.values()):
                yield Row(filled, reader.line_num)
            else:
                yield Problem(str(path), reader.line_num, "", _NOT_UTF8, "CSV in UTF-8")
    except csv.Error as error:
        yield Problem(str(path), reader.line_num, "", f"not valid CSV: {error}")


def _text(path: Path, file: BinaryIO) -> Iterator[Row | Problem]:
    raw = file.read(_MAX_LINE + 1)
    if len(raw) > _MAX_LINE:
        found = f"a document of more than {_MAX_LINE // 2**20} MiB"
        yield Problem(str(path), 1, "", found, "a smaller file")
        return
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        yield Problem(str(path), line, "", _NOT_UTF8, "text in UTF-8")
        return
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if text:
        yield Row({"text": text}, 1)


def _paragraphs(path: Path, file: BinaryIO) -> Iterator[Row | Problem]:
    """Documents between blank lines; a bad line ends the one before and is left out alone."""
    block: list[str] = []
    number = 0
    for number, raw in _lines(path, file):
        problem = raw if isinstance(raw, Problem) else None
        line = ""
        if isinstance(raw, bytes):
            try:
                line = raw.decode("utf-8-sig").rstrip("\r\n")
            except UnicodeDecodeError:
                problem = Problem(str(path), number, "", _NOT_UTF8, "text in UTF-8")
        if line.strip():
            block.append(line)
        elif block:
            yield Row({"text": "\n".join(block).strip()}, number - len(block))
            block = []
        if problem:
            yield problem
    if block:
        yield Row({"text": "\n".join(block).strip()}, number + 1 - len(block))
