"""Where imported records go: Parquet parts by kind, a list of what was rejected, and a manifest.

All is made in ``.<name>.import`` beside the place it is for. ``keep`` writes parts, then commits
how far the import has come; after a kill the next start goes on from the last commit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from burnish.config import Problem
from burnish.records import Record, content_id
from burnish.store import atomic, manifest, tables
from burnish.store.errors import StorageError, disk_full, storage_errors
from burnish.store.names import IMPORTED, REJECTED
from burnish.store.rows import content_of

_CACHE_KIBIBYTES = 32 * 1024
_TABLES = """
CREATE TABLE IF NOT EXISTS ids (id INTEGER PRIMARY KEY, content INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), value TEXT NOT NULL);
"""


class Output:
    """An output folder in the making. ``saved`` is what the last ``keep`` was told, None at first.

    Args:
        target: the folder that ``finish`` makes.
        fingerprint: of inputs and settings; what was begun with another one is dropped.

    Raises:
        StorageError: another process imports to the same place, or nothing can be written there.
    """

    def __init__(self, target: Path, fingerprint: str) -> None:
        self._target = target.absolute()
        self._work = _workplace(target)
        self._data = self._work / "data"
        self._fingerprint = fingerprint
        with _storage(self._work):
            self._data.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._work / "state.sqlite", isolation_level=None)
            self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIBIBYTES}")
            self._begin()
            state = self._state()
            if state is None:
                self._clear()
            self._parts: dict[str, int] = state["parts"] if state else {}
            self.saved: dict[str, Any] | None = state["progress"] if state else None
            self._drop_uncommitted()
            size = state["rejected"] if state else 0
            self._rejected = (self._data / REJECTED).open("ab")
            self._rejected.truncate(size)
        self._buffers: dict[str, list[Record]] = {}

    def add(self, record: Record) -> str:
        """Take a record; returns "", "renamed" where it got an id of its own, or "repeated".

        The first record keeps an id. One with other content gets the id of its content; one with
        the same content is not taken.
        """
        outcome = ""
        if not self._is_new(record):
            own = replace(record, id=content_id(record.id, *content_of(record)))
            if self._same(record) or not self._is_new(own):
                return "repeated"
            record, outcome = own, "renamed"
        self._buffers.setdefault(_name(record), []).append(record)
        return outcome

    def reject(self, problem: Problem) -> None:
        """Note a row that was not taken."""
        line = json.dumps(asdict(problem), ensure_ascii=False).encode("utf-8", "replace")
        with _storage(self._data):
            self._rejected.write(line + b"\n")

    def keep(self, progress: dict[str, Any]) -> None:
        """Write what was added since the last time as parts; remember ``progress`` (JSON)."""
        for name, records in self._buffers.items():
            number = self._parts.get(name, 0)
            part = self._data / name / f"part-{number:05d}.parquet"
            atomic.write_bytes(part, tables.parquet(records))
            self._parts[name] = number + 1
        self._buffers.clear()
        with _storage(self._work):
            self._rejected.flush()
            os.fsync(self._rejected.fileno())
            state = {
                "fingerprint": self._fingerprint,
                "parts": self._parts,
                "rejected": os.fstat(self._rejected.fileno()).st_size,
                "progress": progress,
            }
            self._database.execute(
                "INSERT OR REPLACE INTO state VALUES (1, ?)", [json.dumps(state)]
            )
            atomic.fault_point("commit")
            self._database.execute("COMMIT")
            atomic.fault_point("committed")
            self._begin()

    def finish(self, summary: dict[str, Any]) -> None:
        """Seal the folder and put it in its place, whole."""
        self._rejected.close()
        if not self._rejected_any():
            (self._data / REJECTED).unlink()
        atomic.write_json(self._data / IMPORTED, summary)
        manifest.seal(self._data)
        atomic.move_in(self._data, self._target)
        self.discard()

    def discard(self) -> None:
        """Remove all that was not put in its place."""
        self.close()
        shutil.rmtree(self._work, ignore_errors=True)

    def close(self) -> None:
        """Let go of files; what was kept stays for the next start."""
        self._rejected.close()
        self._database.close()

    def _rejected_any(self) -> bool:
        return (self._data / REJECTED).stat().st_size > 0

    def _begin(self) -> None:
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._database.execute("BEGIN EXCLUSIVE")
        for statement in filter(str.strip, _TABLES.split(";")):
            self._database.execute(statement)

    def _state(self) -> dict[str, Any] | None:
        row = self._database.execute("SELECT value FROM state").fetchone()
        state: dict[str, Any] | None = json.loads(row[0]) if row else None
        return state if state and state["fingerprint"] == self._fingerprint else None

    def _clear(self) -> None:
        self._database.execute("DELETE FROM ids")
        self._database.execute("DELETE FROM state")
        shutil.rmtree(self._data)
        self._data.mkdir()

    def _drop_uncommitted(self) -> None:
        """Parts written after the last commit, half written files, an early summary."""
        kept = {
            self._data / name / f"part-{number:05d}.parquet"
            for name, count in self._parts.items()
            for number in range(count)
        }
        for path in self._data.rglob("*"):
            if path.is_file() and path not in kept and path != self._data / REJECTED:
                path.unlink()

    def _is_new(self, record: Record) -> bool:
        key, content = _digest(_name(record), record.id), _digest(*content_of(record))
        with _storage(self._work):
            done = self._database.execute("INSERT OR IGNORE INTO ids VALUES (?, ?)", [key, content])
        return done.rowcount == 1

    def _same(self, record: Record) -> bool:
        key = _digest(_name(record), record.id)
        with _storage(self._work):
            found = self._database.execute("SELECT content FROM ids WHERE id = ?", [key])
            (content,) = found.fetchone()
        return bool(content == _digest(*content_of(record)))


def tidy(target: Path) -> None:
    """Remove what is left beside ``target`` where a kill came just after it was put in place."""
    work = _workplace(target)
    if work.exists() and not (work / "data").exists():
        shutil.rmtree(work, ignore_errors=True)


def _workplace(target: Path) -> Path:
    target = target.absolute()
    return target.with_name(f".{target.name}.import")


def _name(record: Record) -> str:
    return type(record).__name__.lower()


def _digest(*parts: Any) -> int:
    """64 bits as the signed integer that SQLite stores."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), signed=True)


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Errors of the disk and of SQLite as StorageErrors."""
    try:
        with storage_errors(path):
            yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_BUSY:
            raise StorageError(path, "in use by another import to the same place") from None
        if code == sqlite3.SQLITE_FULL:
            raise StorageError(path, disk_full(path)) from None
        raise StorageError(path, f"damaged ({error}); delete this folder") from error
