"""What a stage writes as JSON lines, and how it is read back by its own type."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from burnish.config import InputError, Problem

T = TypeVar("T")


def as_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read(path: Path, make: Callable[[dict[str, Any]], T], what: str) -> list[T]:
    """``make`` of each line's object; empty lines are passed over.

    Raises:
        InputError: the file is missing, or a line is not ``what`` (``"a response"``).
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}")) from None
    return [_made(path, number, line, make, what) for number, line in enumerate(lines, 1) if line]


def _made(path: Path, number: int, line: str, make: Callable[[dict[str, Any]], T], what: str) -> T:
    try:
        return make(json.loads(line))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(Problem(str(path), number, "", f"not {what}: {error}")) from None
