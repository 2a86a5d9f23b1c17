"""A sealed folder: ``manifest.json`` holds the sha256 and size of every other file in it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from burnish.store import atomic
from burnish.store.errors import CorruptError, storage_errors
from burnish.store.names import MANIFEST as MANIFEST

_VERSION = 1


def file_hash(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def seal(folder: Path | str) -> None:
    """Write ``manifest.json`` over every file below ``folder``; do this last.

    Raises:
        CorruptError: the folder holds a symbolic link or another thing that is not a plain file.
    """
    folder = Path(folder)
    files = {}
    with storage_errors(folder):
        for name, path in _files(folder).items():
            if path.is_symlink() or not path.is_file():
                raise CorruptError(folder, f"{name} is not a plain file and cannot be sealed")
            files[name] = {"sha256": file_hash(path), "size": path.stat().st_size}
    atomic.write_json(folder / MANIFEST, {"version": _VERSION, "files": files})


def verify(folder: Path | str, deep: bool = True) -> None:
    """Check a sealed folder against its manifest.

    Args:
        folder: a folder that ``seal`` was called on.
        deep: also compare the hashes, which reads every byte; otherwise only names and sizes.

    Raises:
        CorruptError: names every file that is missing, extra, of another size or other content.
    """
    folder = Path(folder)
    with storage_errors(folder):
        expected = read_manifest(folder)
        found = _files(folder)
        reasons = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
        reasons += [f"{name} is not in the manifest" for name in sorted(found.keys() - expected)]
        for name in sorted(expected.keys() & found.keys()):
            reasons += _differences(name, found[name], expected[name], deep)
    if reasons:
        raise CorruptError(folder, reasons)


def _differences(name: str, path: Path, entry: dict[str, Any], deep: bool) -> list[str]:
    if path.is_symlink() or not path.is_file():
        return [f"{name} is not a plain file"]
    size = path.stat().st_size
    if size != entry["size"]:
        return [f"{name} has {size} bytes where the manifest says {entry['size']}"]
    if deep and file_hash(path) != entry["sha256"]:
        return [f"{name} has other content than the manifest says (sha256 differs)"]
    return []


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The entries of ``manifest.json`` by file name, each with ``sha256`` and ``size``.

    Raises:
        CorruptError: there is no manifest or it is damaged.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise CorruptError(folder, f"{MANIFEST} is missing, so the folder was never completed")
    try:
        content = json.loads(path.read_bytes())
        files: dict[str, dict[str, Any]] = content["files"]
        whole = content["version"] == _VERSION and all(
            isinstance(entry["sha256"], str) and isinstance(entry["size"], int)
            for entry in files.values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise CorruptError(folder, f"{MANIFEST} is damaged")
    return files


def folder_size(folder: Path) -> int:
    """Bytes of all files below ``folder``, sealed or not."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def content_fingerprint(path: Path | str, leave_out: frozenset[str] = frozenset()) -> str:
    """A sha256 over a file's content, or over the names and contents of all files of a folder.

    Args:
        path: a file or folder. A sealed folder's manifest is believed, nothing is hashed again.
        leave_out: names of files that do not count, beside ``manifest.json``.

    Raises:
        StorageError: nothing is there or it cannot be read.
    """
    path = Path(path)
    with storage_errors(path):
        if not path.is_dir():
            return file_hash(path)
        if (path / MANIFEST).is_file():
            hashes = {name: entry["sha256"] for name, entry in read_manifest(path).items()}
        else:
            hashes = {name: file_hash(file) for name, file in _files(path).items()}
    kept = {name: value for name, value in hashes.items() if name not in leave_out}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    """All entries that are not folders, by name relative to ``folder``; links are not followed."""
    found = {}
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        for name in [*names, *links]:
            path = Path(root, name)
            relative = path.relative_to(folder).as_posix()
            if relative != MANIFEST:
                found[relative] = path
    return dict(sorted(found.items()))
