"""``metrics.jsonl``: one JSON object a line, appended as a run goes."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.store import atomic
from burnish.store.errors import storage_errors
from burnish.store.lines import as_lines

Row = dict[str, Any]


class Metrics:
    """An append-only log that survives a kill in the middle of a line.

    A torn last line is ignored when reading, and the next append starts on a line of its own.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row; it is in the operating system's hands on return.

        A number that is NaN or infinite is written as null, which every JSON reader takes.

        Raises:
            StorageError: disk full or no permission.
        """
        line = json.dumps(finite(row), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        line = b"\n" + line
                file.write(line)

    def read(self) -> list[Row]:
        """All whole rows in order; an empty list where there is no log yet."""
        if not self.path.exists():
            return []
        with storage_errors(self.path):
            lines = self.path.read_bytes().split(b"\n")
        return [row for line in lines if (row := _parse(line)) is not None]

    def truncate_after(self, step: int, tags: Mapping[str, Any] | None = None) -> list[Row]:
        """Drop rows with a ``step`` above ``step``, so that a resumed run logs as one unbroken.

        Args:
            step: the last step to keep; 0 drops every row that has a step.
            tags: only rows with these values (a stage and round) are looked at; others stay.

        Returns:
            The rows looked at that were kept.
        """
        if not self.path.exists():
            return []
        mine, kept = [], []
        for row in self.read():
            tagged = all(row.get(name) == value for name, value in (tags or {}).items())
            value = row.get("step")
            if tagged and isinstance(value, int) and value > step:
                continue
            kept.append(row)
            mine += [row] if tagged else []
        text = as_lines(kept)
        if text.encode() != self.path.read_bytes():
            atomic.write_text(self.path, text)
        return mine


class Follower:
    """Reads what is appended to such a log, from where it was read last."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.rows: list[Row] = []
        self._place = 0
        self._file: int | None = None

    def read(self) -> bool:
        """Take in new whole lines; returns whether ``rows`` changed.

        A log that was written anew, or is gone, is read from its beginning.
        """
        try:
            with self.path.open("rb") as file:
                told = os.fstat(file.fileno())
                afresh = told.st_ino != self._file or told.st_size < self._place
                if afresh:
                    self._file, self._place, self.rows = told.st_ino, 0, []
                file.seek(self._place)
                new = file.read()
        except FileNotFoundError:
            changed = bool(self.rows)
            self._file, self._place, self.rows = None, 0, []
            return changed
        whole = new[: new.rfind(b"\n") + 1]
        self._place += len(whole)
        self.rows += [row for line in whole.split(b"\n") if (row := _parse(line)) is not None]
        return afresh or bool(whole)


def _parse(line: bytes) -> Row | None:
    """A row, or None for a blank or torn line: a cut object lacks its last brace."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def finite(value: Any) -> Any:
    """``value`` with None for each number, however deep in it, that JSON does not have."""
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
