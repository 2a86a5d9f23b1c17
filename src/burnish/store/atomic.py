"""Files and folders that appear whole or not at all, also when the process is killed.

A name is first written beside its target as ``.<name>.tmp-<process>-<n>``, fsynced and renamed.
A folder that is replaced is moved aside as ``.<name>.old-<process>-<n>`` until the new one stands;
``sweep`` puts it back after a kill in between, and removes what dead processes left.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from burnish.store.errors import CorruptError, StorageError, storage_errors

log = logging.getLogger(__name__)

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.(?P<kind>tmp|old)-(?P<pid>\d+)-\d+")
_numbers = itertools.count()
_live: set[Path] = set()


def _no_fault(_name: str) -> None:
    """The default of ``fault_point``: nothing happens."""


fault_point: Callable[[str], None] = _no_fault
"""Called by name before every step that a kill may interrupt; crash tests put a killer here."""


def beside(path: Path, kind: str = "tmp") -> Path:
    """A fresh hidden name beside ``path``, not yet made: ``.<name>.<kind>-<process>-<n>``."""
    return path.with_name(f".{path.name}.{kind}-{os.getpid()}-{next(_numbers)}")


@contextmanager
def open_file(path: Path | str) -> Iterator[BinaryIO]:
    """A binary file to write to; ``path`` holds it, whole and durable, when the block ends well.

    Raises:
        StorageError: disk full or no permission; ``path`` is then as it was before.
    """
    path = Path(path).absolute()
    temp = beside(path)
    _live.add(temp)
    try:
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            fault_point("open file")
            file = temp.open("wb")
        with storage_errors(path, within=temp), file:
            yield file
        with storage_errors(path):
            fault_point("sync file")
            _sync(temp)
            fault_point("rename file")
            temp.replace(path)
            fault_point("sync parent")
            _sync(path.parent)
    finally:
        with suppress(OSError):  # read-only by now, say: then a later sweep removes it
            temp.unlink(missing_ok=True)
        _live.discard(temp)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically; see ``open_file`` for the errors."""
    with open_file(path) as file:
        half = len(data) // 2
        file.write(data[:half])
        file.flush()
        fault_point("half written")
        file.write(data[half:])


def write_text(path: Path | str, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


@contextmanager
def new_folder(target: Path | str, replace: bool = False) -> Iterator[Path]:
    """A fresh folder beside ``target`` to fill; it becomes ``target`` when the block ends well.

    With ``replace`` an existing target is moved aside first and removed last, never before the
    new one stands.

    Raises:
        StorageError: ``target`` exists and ``replace`` is false, the disk is full, or there is no
            permission; ``target`` is then as it was before.
    """
    target = Path(target).absolute()
    temp = beside(target)
    _live.add(temp)
    try:
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _put_back(target)
            if target.exists() and not replace:
                raise StorageError(target, "already exists")
            fault_point("make folder")
            temp.mkdir()
        with _named_as(temp, target), storage_errors(target, within=temp):
            yield temp
        with storage_errors(target):
            fault_point("sync folder")
            _sync_tree(temp)
            _swap_in(temp, target, replace)
    finally:
        shutil.rmtree(temp, ignore_errors=True)
        _live.discard(temp)


def move_in(folder: Path, target: Path) -> None:
    """Rename a finished folder to ``target``, which must not exist, and make all of it durable.

    Raises:
        StorageError: something is at ``target``, or it cannot be moved there.
    """
    with storage_errors(target):
        fault_point("sync folder")
        _sync_tree(folder)
        if target.exists():
            raise StorageError(target, "already exists")
        fault_point("rename folder")
        folder.rename(target)
        fault_point("sync parent")
        _sync(target.parent)


@contextmanager
def _named_as(temp: Path, target: Path) -> Iterator[None]:
    """Name a file of the folder being made by where it was to be, not by its passing place."""
    try:
        yield
    except CorruptError:
        raise
    except StorageError as error:
        if not error.path.is_relative_to(temp):
            raise
        raise StorageError(target / error.path.relative_to(temp), error.reason) from error


def _swap_in(temp: Path, target: Path, replace: bool) -> None:
    old = beside(target, "old") if replace and target.exists() else None
    if old is not None:
        _live.add(old)
        fault_point("move aside")
        target.rename(old)
    try:
        fault_point("rename folder")
        temp.rename(target)
    except BaseException:
        if old is not None:
            old.rename(target)
        raise
    finally:
        if old is not None:
            _live.discard(old)
    fault_point("sync parent")
    _sync(target.parent)
    if old is not None:
        fault_point("remove old")
        shutil.rmtree(old, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that it is never seen half deleted.

    Raises:
        StorageError: it cannot be moved or deleted.
    """
    doomed = beside(folder)
    with storage_errors(folder):
        fault_point("move doomed")
        folder.rename(doomed)
        fault_point("delete doomed")
        shutil.rmtree(doomed)


def sweep(folder: Path | str) -> list[Path]:
    """Undo what killed processes left in ``folder``; returns the leftovers that were dealt with.

    A folder that was moved aside and not yet replaced is put back; all else that belongs to a
    dead process, or to this one but to no block still open, is removed. What cannot be removed
    is left and logged.
    """
    folder = Path(folder).absolute()
    if not folder.is_dir():
        return []
    swept = []
    for path, name, kind in _leftovers(folder):
        try:
            # What was moved aside inside a folder still being made is no one's old state.
            wanted = kind == "old" and not _LEFTOVER.fullmatch(name)
            if wanted and not (folder / name).exists():
                path.rename(folder / name)
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            log.warning("%s: leftover of an earlier run cannot be removed: %s", path, error)
            continue
        swept.append(path)
    return swept


def _put_back(target: Path) -> None:
    for path, name, kind in _leftovers(target.parent):
        if name == target.name and kind == "old" and not target.exists():
            path.rename(target)


def _leftovers(folder: Path) -> list[tuple[Path, str, str]]:
    found = []
    for path in sorted(folder.iterdir()):
        match = _LEFTOVER.fullmatch(path.name)
        if match and path not in _live and not _belongs_to_other(int(match["pid"])):
            found.append((path, match["name"], match["kind"]))
    return found


def _belongs_to_other(pid: int) -> bool:
    """Whether ``pid`` is a living process other than this one."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _sync_tree(folder: Path) -> None:
    for root, _folders, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if not path.is_symlink():
                _sync(path)
        _sync(Path(root))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
