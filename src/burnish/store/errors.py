"""Errors of the storage floor; both end a command with the exit code for bad input."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from burnish.config import EXIT_INPUT, BurnishError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class StorageError(BurnishError):
    """A file or folder cannot be written or read: disk full, no permission, already there."""

    exit_code = EXIT_INPUT

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = Path(path)
        self.reason = reason
        super().__init__(f"{path}: {reason}")


class CorruptError(StorageError):
    """What is stored is damaged; ``reasons`` lists every finding."""

    def __init__(self, path: Path | str, reasons: Sequence[str] | str) -> None:
        self.reasons = (reasons,) if isinstance(reasons, str) else tuple(reasons)
        super().__init__(path, "; ".join(self.reasons))


@contextmanager
def storage_errors(path: Path, within: Path | None = None) -> Iterator[None]:
    """Turn an operating-system error inside the block into a StorageError that names ``path``.

    With ``within`` the block is a caller's own code: then only errors about files below
    ``within``, and those that name no file and are a storage device's, are taken for ours.
    """
    try:
        yield
    except OSError as error:
        if within is not None and not _concerns(error, within):
            raise
        raise StorageError(
            path, _reason(error.errno, error.strerror or str(error), path)
        ) from error
    except SafetensorError as error:
        # The safetensors writer reports a full disk as text: "... (os error 28)".
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        number = int(code.group(1))
        raise StorageError(path, _reason(number, os.strerror(number), path)) from error


def _concerns(error: OSError, within: Path) -> bool:
    if isinstance(error.filename, str | os.PathLike):
        return Path(error.filename).absolute().is_relative_to(within)
    return error.errno in {*_NO_SPACE, errno.EROFS, errno.EIO}


def _reason(number: int | None, text: str, path: Path) -> str:
    if number in _NO_SPACE:
        return disk_full(path)
    if number in _NO_PERMISSION:
        return f"no permission to write or read here ({text.lower()})"
    return f"cannot be written or read ({text.lower()})"


def disk_full(path: Path) -> str:
    """What to tell a person whose disk has no room for ``path``."""
    there = next((p for p in (path, *path.absolute().parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    size = f"{free / 2**30:.1f} GiB" if free >= 2**30 else f"{free / 2**20:.1f} MiB"
    return f"the disk is full: {size} free; make room and run the same command again"
