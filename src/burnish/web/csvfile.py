"""A table taken away as a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from urllib.parse import quote

from starlette.responses import StreamingResponse

from burnish.store.sheets import Cell, lines

MARK = "\ufeff"
"""Spreadsheets read a file as UTF-8 only with it."""


def csv_file(name: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> StreamingResponse:
    """A download of rows as they come; ``name`` without its ending.

    Raises:
        ValueError: (as it is sent) a row has another number of cells than ``head``.
    """
    headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(name)}.csv"}
    return StreamingResponse(
        chain([MARK], lines(head, rows)), media_type="text/csv; charset=utf-8", headers=headers
    )
