"""Progress: one object that stages pass down; a bar for people, silence for tests and JSON."""

from __future__ import annotations

import time
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

Field = float | str


class Handle(Protocol):
    """One bar. ``advance(3, loss=1.25)`` moves it by three and shows the loss beside it."""

    def advance(self, n: int = 1, **fields: Field) -> None:
        """Move by ``n`` units and show ``fields``."""

    def __enter__(self) -> Self:
        """Start."""

    def __exit__(self, *error: object) -> None:
        """Close the bar."""


class Progress(Protocol):
    """Where bars are opened: ``with progress.task("sft", 200) as bar: bar.advance(1)``."""

    def task(self, label: str, total: int | None) -> Handle:
        """Open a bar of ``total`` units, None where that is unknown."""


class SilentProgress:
    """Shows nothing; its own handle."""

    def task(self, label: str, total: int | None) -> Self:
        """A bar that shows nothing."""
        return self

    def advance(self, n: int = 1, **fields: Field) -> None:
        """Show nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class RichProgress:
    """Bars with the latest numbers, elapsed and remaining time; a finished bar leaves one line."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._bars: Bars | None = None
        self._open = 0

    def task(self, label: str, total: int | None) -> Handle:
        """Open a bar of ``total`` units, None where that is unknown."""
        if self._bars is None:
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[shown]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._bars.start()
        self._open += 1
        return _RichHandle(self, self._bars, label, total)

    def closed(self, line: str) -> None:
        """One bar ended: print its line, and stop drawing with the last one."""
        self._open -= 1
        self.console.print(line, highlight=False, markup=False)
        if self._open == 0 and self._bars is not None:
            self._bars.stop()
            self._bars = None


class _RichHandle:
    def __init__(self, board: RichProgress, bars: Bars, label: str, total: int | None) -> None:
        self.board, self.bars, self.label = board, bars, label
        self.done = 0
        self.shown = ""
        self.began = time.monotonic()
        self.id: TaskID = bars.add_task(label, total=total, shown="")

    def advance(self, n: int = 1, **fields: Field) -> None:
        self.done += n
        if fields:
            self.shown = "  ".join(f"{name} {_short(value)}" for name, value in fields.items())
        self.bars.update(self.id, advance=n, shown=self.shown)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bars.remove_task(self.id)
        seconds = time.monotonic() - self.began
        mark = "✓" if error[0] is None else "✗"
        self.board.closed(f"{mark} {self.label}  {self.done}  {self.shown}  {seconds:.1f} s")


def _short(value: Field) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
