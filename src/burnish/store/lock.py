"""One process at a time: a lock that the operating system frees when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from burnish.store.errors import StorageError, storage_errors


@contextmanager
def held(path: Path | str, wait: bool = False) -> Iterator[None]:
    """Hold the lock file ``path`` during the block.

    Args:
        path: made if missing; it stays afterwards and holds the number of its last holder.
        wait: wait for the present holder; otherwise raise.

    Raises:
        StorageError: another process holds it, or the file cannot be made.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace") or "unknown"
            raise StorageError(path, f"in use by another process ({holder})") from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        os.close(handle)


def holder(path: Path | str) -> int | None:
    """The number of the process that holds the lock file ``path`` now, or None."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        number = os.read(handle, 32).decode(errors="replace")
        return int(number) if number.isdecimal() else None
    finally:
        os.close(handle)
    return None
