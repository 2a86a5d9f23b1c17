"""Records as they stand in files, of any kind, with their place and every column of their row."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import Problem
from burnish.records import (
    Document,
    Record,
    Rollout,
    content_id,
)
from burnish.selection.texts import texts_of
from burnish.store import formats, tables

_NO_SCORES = frozenset({"weight", "seed", "temperature", "top_p", "line", "index", "round"})
_SCORE_COLUMNS = ("scores", "objectives")


@dataclass(frozen=True)
class Found:
    """A record with its row as written, its number in the file from 0, and its line from 1."""

    record: Record
    row: Mapping[str, Any]
    number: int
    line: int | None

    @property
    def kind(self) -> str:
        """The kind of record, as on the command line."""
        return type(self.record).__name__.lower()

    @property
    def parents(self) -> tuple[str, ...]:
        """What it was made from: ids of records, or places such as ``pages.jsonl:12``."""
        if isinstance(self.record, Rollout):
            return tuple(dict.fromkeys((*self.record.parents, self.record.prompt_id)))
        return self.record.parents

    def column(self, name: str) -> str:
        """A column as text, whether records have it or only the row does; "" where absent."""
        value = getattr(self.record, name, None)
        value = self.row.get(name) if value is None else value
        return "" if value is None else str(value)


def records_of(
    file: Path, kind: type[Record], problems: list[Problem], wanted: Container[int] | None = None
) -> Iterator[Found]:
    """A file's records one at a time; bad rows go to ``problems``. Text files hold documents.

    ``wanted`` are the numbers of the rows to make records of; all where None.
    """
    if formats.suffix(file) in formats.TEXTS:
        for number, document in enumerate(tables.iterate(file, Document, problems=problems)):
            if wanted is None or number in wanted:
                yield Found(document, {"text": document.text}, number, None)
        return
    for number, row in enumerate(formats.rows(file)):
        if wanted is not None and number not in wanted:
            continue
        if isinstance(row, Problem):
            problems.append(row)
            continue
        found = tables.parsed(file, row, kind, problems)
        if found is not None:
            yield Found(found, row.value, number, row.line)


def content_hash(record: Record) -> str:
    """16 hex digits over a record's kind and texts: the same whatever its id and marks are."""
    return content_id(type(record).__name__, texts_of(record))


def shortened(record: Record, most: int = 120) -> str:
    """A record's texts on one line of at most ``most`` characters, without control characters."""
    return one_line(" → ".join(texts_of(record)), most)


def one_line(text: str, most: int = 120) -> str:
    """White space folded, what does not print shown as ``\\u200b``, cut at ``most`` characters."""
    folded = " ".join(text[: 4 * most].split())
    shown = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in folded)
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def scores_of(found: Found) -> dict[str, float]:
    """Every score of a record by name: its ``scores``, ``objectives`` and single numeric columns.

    Nested ones have dotted names, such as ``chosen.fluency``.
    """
    scores: dict[str, float] = {}
    for name, value in found.row.items():
        if name in _SCORE_COLUMNS:
            scores |= _numbers(_decoded(value), "")
        elif name not in _NO_SCORES and _is_number(value):
            scores[name] = float(value)
        elif name == "total":
            scores |= _numbers(_decoded(value), f"{name}.")
    return scores


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def _numbers(value: Any, prefix: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, inner in value.items() if isinstance(value, Mapping) else ():
        if isinstance(inner, Mapping):
            found |= _numbers(inner, f"{prefix}{name}.")
        elif _is_number(inner):
            found[f"{prefix}{name}"] = float(inner)
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
