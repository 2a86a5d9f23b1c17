"""Documents on disk between two passes over them, so that memory does not grow with their text."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, overload

from burnish.records import Document


class Spool:
    """Documents in order: all added first, then read in order or by number (8 bytes a document)."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._starts = array("Q")

    def add(self, document: Document) -> None:
        """Put one more document at the end."""
        self._starts.append(self._file.seek(0, 2))
        self._file.write(line(document))

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[Document]:
        return (self[number] for number in range(len(self)))

    def __getitem__(self, number: int) -> Document:
        self._file.seek(self._starts[number])
        row = json.loads(self._file.readline())
        return Document(**{**row, "parents": tuple(row["parents"])})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


class Texts(Sequence[str]):
    """The texts of some documents of a spool, each read when it is asked for."""

    def __init__(self, spool: Spool, numbers: Sequence[int]) -> None:
        self._spool, self._numbers = spool, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Texts: ...
    def __getitem__(self, index: int | slice) -> str | Texts:
        if isinstance(index, slice):
            return Texts(self._spool, self._numbers[index])
        return self._spool[self._numbers[index]].text


def line(document: Document) -> bytes:
    """One line of JSON."""
    return json.dumps(vars(document), ensure_ascii=False).encode() + b"\n"
