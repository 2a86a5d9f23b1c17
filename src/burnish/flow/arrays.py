"""What later, global decisions need to know of each part, as arrays on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from burnish.flow.parts import Source, part_name
from burnish.flow.steps import Part
from burnish.flow.work import Numbers
from burnish.store import atomic


@dataclass(frozen=True)
class Arrays:
    """A task: the arrays that ``function`` gives for a part, in ``folder/part-N/NAME.npy``.

    ``function`` is sent to other processes, as a step's is.
    """

    source: Source
    function: Callable[[Part], Mapping[str, NDArray[Any]]]
    folder: Path

    def done(self, index: int) -> bool:
        """Whether the part's arrays were made already."""
        return (self.folder / part_name(index)).is_dir()

    def __call__(self, index: int) -> Numbers:
        """Make a part's arrays; they appear together."""
        began = time.process_time()
        part = Part(index, self.source.read(index))
        with atomic.new_folder(self.folder / part_name(index)) as folder:
            for name, values in self.function(part).items():
                np.save(folder / f"{name}.npy", values, allow_pickle=False)
        return {"records": len(part.records), "seconds": time.process_time() - began}

    def load(self, index: int, name: str) -> NDArray[Any]:
        """One array of one part, mapped from disk: only what is used is read."""
        path = self.path(index, name)
        found: NDArray[Any] = np.load(path, mmap_mode="r")
        return found

    def path(self, index: int, name: str) -> Path:
        """Where an array lies."""
        return self.folder / part_name(index) / f"{name}.npy"

    def gather(self, name: str) -> NDArray[Any]:
        """One array of all parts, one after the other along the last axis."""
        return np.concatenate(
            [self.load(index, name) for index in range(len(self.source))], axis=-1
        )
