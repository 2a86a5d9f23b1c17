"""Bytes out of a file: plain, or gzip as far as an honest file would unpack."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any, BinaryIO, cast

from burnish.config import InputError, Problem

MOST_RATIO = 200
FREE_BYTES = 128 * 2**20


class _Bounded(io.RawIOBase):
    """A gzip file that stops where it unpacks to more than text does.

    Text shrinks by 3 to 20 times and a very repetitive table by perhaps 100; a bomb, by 1000.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = gzip.GzipFile(path, "rb")
        self._limit = max(FREE_BYTES, MOST_RATIO * path.stat().st_size)
        self._total = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        self._total += len(data)
        if self._total > self._limit:
            found = f"unpacks to more than {MOST_RATIO} times its size"
            raise InputError(Problem(str(self._path), None, "", found, "text packed with gzip"))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def open_bytes(path: Path) -> BinaryIO:
    """The content of a file, unpacked where its name ends in ``.gz``.

    Raises:
        InputError: while reading, once a packed file has given more than 128 MiB and more than
            200 times its own size.
        OSError: it cannot be opened or unpacked.
    """
    if path.name.lower().endswith(".gz"):
        return cast(BinaryIO, io.BufferedReader(_Bounded(path), 2**16))
    return path.open("rb")
