"""What later, global decisions need to know of each part, as arrays on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.flow.parts import Source, part_name
from burnish.flow.steps import Part
from burnish.flow.work import Numbers
from burnish.store import atomic

Indices = NDArray[np.int64]
AT_ONCE = 2**21


@dataclass(frozen=True)
class Arrays:
    """A task: the arrays that ``function`` gives for a part, in ``folder/part-N/NAME.npy``.

    ``function`` is sent to other processes, as a step's is.
    """

    source: Source
    function: Callable[[Part], Any]
    folder: Path

    def done(self, index: int) -> bool:
        """Whether the part's arrays were made already."""
        return (self.folder / part_name(index)).is_dir()

    def __call__(self, index: int) -> Numbers:
        """Make a part's arrays; they appear together."""
        began = time.process_time()
        part = Part(index, self.source.read(index))
        with atomic.new_folder(self.folder / part_name(index)) as folder:
            self.save(folder, self.function(part))
        return {"records": len(part.records), "seconds": time.process_time() - began}

    def save(self, folder: Path, found: Any) -> None:
        """Write what the function gave: arrays by name."""
        for name, values in found.items():
            np.save(folder / f"{name}.npy", values, allow_pickle=False)

    def load(self, index: int, name: str) -> NDArray[Any]:
        """One array of one part, mapped from disk: only what is used is read, and only while it is
        held does it count as memory of the process."""
        found: NDArray[Any] = np.load(self.path(index, name), mmap_mode="r")
        return found

    def path(self, index: int, name: str) -> Path:
        """Where an array lies."""
        return self.folder / part_name(index) / f"{name}.npy"

    def gather(self, name: str) -> NDArray[Any]:
        """One array of all parts, one after the other along the last axis."""
        return np.concatenate([self.load(part, name) for part in range(len(self.source))], axis=-1)

    def sizes(self, name: str) -> list[int]:
        """How long an array is in each part, along its last axis."""
        return [self.load(part, name).shape[-1] for part in range(len(self.source))]

    def total(self, name: str) -> NDArray[Any]:
        """The sum of one array over all parts."""
        found = self.load(0, name).copy()
        for part in range(1, len(self.source)):
            found += self.load(part, name)
        return found

    def ranges(self, key: str, *others: str) -> Iterator[tuple[Indices, list[NDArray[Any]]]]:
        """Rows of all parts by ranges of ``key``, so that equal keys come together and memory does
        not grow with them: the part of each row, and ``key`` and ``others`` of it.

        ``key`` is sorted in every part: 64-bit hashes, of which ranges hold about as many.
        """
        count = -(-sum(self.sizes(key)) // AT_ONCE)
        for piece in range(count):
            owners, rows = [], []
            for part in range(len(self.source)):
                keys = self.load(part, key)
                begin, end = (
                    len(keys) if bound == count
                    else int(np.searchsorted(keys, np.uint64(bound * 2**64 // count)))
                    for bound in (piece, piece + 1)
                )  # fmt: skip
                owners.append(np.full(end - begin, part))
                rows.append([self.load(part, name)[begin:end].copy() for name in (key, *others)])
            yield np.concatenate(owners), [np.concatenate(some) for some in zip(*rows, strict=True)]

    def row(self, name: str, row: int) -> NDArray[Any]:
        """One row of an array of all parts, as ``gather``."""
        return np.concatenate([self.load(part, name)[row] for part in range(len(self.source))])


class Rows:
    """The records of all parts by number, and what arrays have of some of them.

    ``order``: records by number among all, in the order in which they are asked for; the order of
    the parts unless given. ``sizes``: records of each part.
    """

    def __init__(self, sizes: Sequence[int], order: Indices | None = None) -> None:
        self.begins = np.cumsum([0, *sizes])
        self.order = np.arange(self.begins[-1]) if order is None else order

    def __len__(self) -> int:
        return len(self.order)

    def placed(self, rows: Indices) -> Iterator[tuple[int, Indices, Indices]]:
        """(part, where in ``rows`` its records are asked for, their rows in the part), by part."""
        found = self.order[rows]
        parts = np.searchsorted(self.begins, found, side="right") - 1
        for part in np.unique(parts).tolist():
            asked = np.flatnonzero(parts == part)
            yield part, asked, found[asked] - self.begins[part]


class Column:
    """One array of all parts, whose first axis are the records: ``column[rows]`` reads some."""

    def __init__(self, arrays: Arrays, name: str, rows: Rows) -> None:
        self._arrays, self._name, self._rows = arrays, name, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: Indices) -> NDArray[Any]:
        pieces, places = [self._arrays.load(0, self._name)[:0]], [np.zeros(0, np.int64)]
        for part, asked, inside in self._rows.placed(rows):
            pieces.append(self._arrays.load(part, self._name)[inside])
            places.append(asked)
        return np.concatenate(pieces)[np.argsort(np.concatenate(places))]
