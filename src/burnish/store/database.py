"""A SQLite file that many processes may use at once, opened, checked and written with care."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from burnish.store import atomic, lock
from burnish.store.errors import CorruptError, StorageError, disk_full, storage_errors

_BUSY_SECONDS = 60.0


class Database:
    """An open file in WAL mode; made where it does not exist. Close it or use it as a context.

    A subclass says what it holds: ``schema`` (a script that sets ``user_version``), ``version``,
    the ``name`` that errors call it by, and what to do where it is ``damaged``.

    Raises:
        CorruptError: the file is damaged or no database.
        StorageError: it cannot be opened or made, or is from a newer burnish.
    """

    schema: ClassVar[Path]
    version: ClassVar[int] = 1
    name: ClassVar[str]
    damaged: ClassVar[str]

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        with storage_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            self._db = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._db.row_factory = sqlite3.Row
        try:
            with self._errors():
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        # Switching to WAL does not wait for other processes, so one opens the file at a time.
        with lock.held(self.path.with_name(self.path.name + ".lock"), wait=True):
            findings = [row[0] for row in self._db.execute("PRAGMA integrity_check(20)")]
            if findings != ["ok"]:
                raise CorruptError(self.path, [self.damaged, *findings])
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > self.version:
                raise StorageError(self.path, "was written by a newer burnish; update burnish")
            if version == 0:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.executescript(self.schema.read_text(encoding="utf-8"))
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Close the file; the object is of no use afterwards."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        with self._errors():
            return [dict(row) for row in self._db.execute(query, values)]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._errors():
            atomic.fault_point("begin")
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                atomic.fault_point("commit")
                self._db.execute("COMMIT")
                atomic.fault_point("committed")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
            reason = disk_full(self.path) if full else f"the {self.name} cannot be used: {error}"
            raise StorageError(self.path, reason) from error
        except sqlite3.DatabaseError as error:
            raise CorruptError(self.path, [self.damaged, str(error)]) from error
