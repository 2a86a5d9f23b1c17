"""Metrics of a fit: one JSON row a step, in memory and in a file that a resumed fit cuts back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.store.errors import storage_errors
from burnish.store.metrics import Metrics

Row = dict[str, Any]


class MetricsLog:
    """Rows of one fit, appended as they come; ``path`` None keeps them in memory only.

    ``tags`` (a stage and round, say) stand in each row of the file and tell this fit's rows from
    those of others that share it. ``followers`` are given each row's numbers too, and its step.
    """

    def __init__(self, path: Path | None, tags: Mapping[str, str | int] | None = None) -> None:
        self.path = path
        self.tags = dict(tags or {})
        self.followers: Sequence[Callable[[Row, int], object]] = ()
        self.rows: list[Row] = []
        self._file = Metrics(path) if path is not None else None

    def cut(self, step: int) -> None:
        """Keep this fit's rows up to ``step``: those after it will be written again.

        Other fits' rows stay; a last line that a killed process wrote half goes.
        """
        self.rows = []
        if self._file is not None:
            kept = self._file.truncate_after(step, self.tags)
            self.rows = [{k: v for k, v in row.items() if k not in self.tags} for row in kept]

    def beside(self, name: str) -> MetricsLog:
        """A log with the same tags in another file of the same folder."""
        return MetricsLog(self.path.with_name(name) if self.path else None, self.tags)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append one row."""
        self.rows.append(dict(row))
        if self._file is not None:
            self._file.append({**self.tags, **row})
        for follow in self.followers:
            follow({name: value for name, value in row.items() if name != "step"}, row["step"])

    def sync(self) -> None:
        """Make the rows durable; before a checkpoint that counts on them."""
        if self._file is None:
            return
        path = self._file.path
        with storage_errors(path), path.open("rb") as file:
            os.fsync(file.fileno())
