"""A table taken away as a CSV file that no spreadsheet takes for a program."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

from starlette.responses import StreamingResponse

FORMULA = ("=", "+", "-", "@", "\t", "\r")
Cell = str | int | float | None


def csv_file(name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> StreamingResponse:
    """A download of rows as they come; ``name`` without its ending.

    Raises:
        ValueError: (as it is sent) a row has another number of cells than ``head``.
    """
    headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(name)}.csv"}
    return StreamingResponse(
        _lines(head, rows), media_type="text/csv; charset=utf-8", headers=headers
    )


def _lines(head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    yield "\ufeff" + _line(head)  # spreadsheets read it as UTF-8 only with this mark
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
