"""Lineage and profile of a run's data, kept while the data stays the same."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from burnish.reporting.datapage import Profile
from burnish.tracing.index import Index
from burnish.tracing.profile import profile
from burnish.web.records import stamp_of


@dataclass
class Traced:
    """The index and the profile of the run that was asked for last; threads take turns."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _index: tuple[str, Index] | None = None
    _profile: tuple[str, Profile] | None = None

    @contextmanager
    def index(self, run: Path) -> Iterator[Index]:
        """The index of a run, for this thread until the block ends.

        Raises:
            InputError: the run has no data.
        """
        with self._lock:
            key = stamp_of(run)
            if self._index is None or self._index[0] != key:
                self._close()
                self._index = key, Index([run])
            yield self._index[1]

    def profile(self, run: Path) -> Profile:
        """Statistics of a run's data; raises InputError where it has none."""
        with self._lock:
            key = stamp_of(run)
            if self._profile is None or self._profile[0] != key:
                self._profile = key, profile(run)
            return self._profile[1]

    def _close(self) -> None:
        if self._index is not None:
            self._index[1].close()
            self._index = None

    def close(self) -> None:
        """Remove what was kept."""
        with self._lock:
            self._close()
