"""Rows as CSV that no spreadsheet takes for a program."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

FORMULA = ("=", "+", "-", "@", "\t", "\r")
Cell = str | int | float | None


def lines(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """The lines of a CSV file, their ends with them.

    Raises:
        ValueError: a row has another number of cells than ``head``.
    """
    yield _line(head)
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"row: {len(row)} cells, expected {len(head)}")
        yield _line(row)


def _line(row: Sequence[Cell]) -> str:
    line = io.StringIO(newline="")
    csv.writer(line).writerow([neutral(cell) for cell in row])
    return line.getvalue()


def neutral(cell: Cell) -> Cell:
    """The cell as a spreadsheet shows it without running it: text that begins a formula gets an
    apostrophe before it, as spreadsheets themselves mark text. Numbers stay numbers."""
    if isinstance(cell, str) and cell.lstrip(" \n").startswith(FORMULA):
        return f"'{cell}"
    return cell
