"""The registry: which models exist, what they came from, which one is the champion, and why.

One SQLite file that many processes may use at once. Order is by sequence number, never by clock.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.store import atomic
from burnish.store.database import Database
from burnish.store.errors import StorageError
from burnish.store.names import check_name, parse_ref


class AliasMovedError(StorageError):
    """An alias did not point where the caller expected; ``found`` is where it does (or None)."""

    def __init__(self, path: Path, alias: str, expected: str, found: str | None) -> None:
        self.found = found
        held = found or "nothing"
        super().__init__(path, f"{alias} points to {held}, not to {expected or 'nothing'}")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A registered artifact; ``figures`` are plain JSON, ``path`` where its folder lies."""

    sequence: int
    name: str
    version: int
    kind: str
    path: str
    fingerprint: str
    figures: dict[str, Any]

    @property
    def ref(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a gate decided in one round, with its statistics in ``details``."""

    sequence: int
    round: int
    candidate: str
    champion: str
    decision: str
    reason: str
    details: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One attempt to point an alias somewhere; ``done`` tells whether it was let through."""

    sequence: int
    alias: str
    before: str | None
    after: str
    done: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """What a person said about a reply of the artifact ``ref``."""

    sequence: int
    key: str
    ref: str
    content: dict[str, Any]


class Registry(Database):
    """An open registry file; made where it does not exist. Close it or use it as a context.

    Raises:
        CorruptError: the file is damaged or is no registry.
        StorageError: it cannot be opened or made, or is from a newer burnish.
    """

    schema = Path(__file__).with_name("registry.sql")
    name = "registry"
    damaged = (
        "the registry is damaged; move it away and put a backup in its place, "
        "the artifacts themselves lie in the run folders"
    )

    def register(
        self,
        name: str,
        kind: str,
        path: Path | str,
        fingerprint: str,
        figures: Mapping[str, Any] | None = None,
        parents: Sequence[str] = (),
    ) -> int:
        """Register an artifact as the next version of ``name``; versions have no gaps.

        Args:
            name: see ``names.check_name``.
            kind: model, data, reward_model, report or export.
            path: the folder it lies in.
            fingerprint: of its content.
            figures: its measurements as JSON.
            parents: refs of registered artifacts it was made from.

        Raises:
            InputError: the name is bad or a parent is not registered.
        """
        check_name(name)
        values = (name, kind, str(path), fingerprint, _dump(figures or {}))
        with self._transaction():
            row = self._db.execute(
                "INSERT INTO artifacts (name, version, kind, path, fingerprint, figures)"
                " SELECT ?1, 1 + coalesce(max(version), 0), ?2, ?3, ?4, ?5"
                " FROM artifacts WHERE name = ?1 RETURNING sequence, version",
                values,
            ).fetchone()
            atomic.fault_point("lineage")
            for parent in dict.fromkeys(parents):
                self._db.execute(
                    "INSERT INTO lineage (child, parent) VALUES (?, ?)",
                    (row["sequence"], self._entry(parent).sequence),
                )
        return int(row["version"])

    def set_alias(
        self, alias: str, ref: str, expected: str | None = None, reason: str = ""
    ) -> None:
        """Point ``alias`` to the registered artifact ``ref``, in one step; each attempt is logged.

        Args:
            alias: such as ``champion``.
            ref: ``name@version``.
            expected: where the caller believes it points now, ``""`` for nowhere; None moves it
                from wherever it points.
            reason: for the audit.

        Raises:
            AliasMovedError: it points elsewhere than expected; nothing changed but the audit.
            InputError: ``ref`` is not registered or the alias is no name.
        """
        check_name(alias)
        with self._transaction():
            target = self._entry(ref)
            before = self.alias(alias)
            done = expected is None or expected == (before or "")
            if done:
                atomic.fault_point("move alias")
                self._db.execute(
                    "INSERT INTO aliases (alias, artifact) VALUES (?, ?)"
                    " ON CONFLICT (alias) DO UPDATE SET artifact = excluded.artifact",
                    (alias, target.sequence),
                )
            atomic.fault_point("audit alias")
            self._db.execute(
                "INSERT INTO moves (alias, before, after, done, reason) VALUES (?, ?, ?, ?, ?)",
                (alias, before, target.ref, done, reason),
            )
        if not done:
            raise AliasMovedError(self.path, alias, expected or "", before)

    def alias(self, alias: str) -> str | None:
        """The ref ``alias`` points to, or None."""
        rows = self._rows(
            "SELECT name, version FROM aliases JOIN artifacts ON artifact = sequence"
            " WHERE alias = ?",
            alias,
        )
        return f"{rows[0]['name']}@{rows[0]['version']}" if rows else None

    def moves(self, alias: str) -> list[Move]:
        """Every attempt to move ``alias``, oldest first."""
        rows = self._rows("SELECT * FROM moves WHERE alias = ? ORDER BY sequence", alias)
        return [Move(**{**row, "done": bool(row["done"])}) for row in rows]

    def entries(self, name: str | None = None) -> list[Entry]:
        """All registered artifacts, or those of one name, in the order they were registered."""
        rows = self._rows(
            "SELECT * FROM artifacts WHERE ?1 IS NULL OR name = ?1 ORDER BY sequence", name
        )
        return [_entry(row) for row in rows]

    def get(self, ref: str) -> Entry:
        """The artifact ``name@version``, or the latest of ``name``; raises InputError."""
        with self._errors():
            return self._entry(ref)

    def lineage(self, name: str, version: int) -> list[Entry]:
        """Everything ``name@version`` was made from, near and far, in order of registration."""
        rows = self._rows(
            "WITH RECURSIVE above (sequence) AS ("
            " SELECT parent FROM lineage WHERE child = ?"
            " UNION SELECT parent FROM lineage JOIN above ON child = above.sequence)"
            " SELECT artifacts.* FROM artifacts JOIN above USING (sequence) ORDER BY sequence",
            self.get(f"{name}@{version}").sequence,
        )
        return [_entry(row) for row in rows]

    def edges(self) -> list[tuple[str, str]]:
        """Every (child, parent) of the lineage as refs, in order of registration."""
        rows = self._rows(
            "SELECT c.name AS cn, c.version AS cv, p.name AS pn, p.version AS pv FROM lineage"
            " JOIN artifacts c ON c.sequence = child JOIN artifacts p ON p.sequence = parent"
            " ORDER BY child, parent"
        )
        return [(f"{row['cn']}@{row['cv']}", f"{row['pn']}@{row['pv']}") for row in rows]

    def add_verdict(
        self,
        round: int,
        candidate: str,
        champion: str,
        decision: str,
        reason: str,
        details: Mapping[str, Any] | None = None,
    ) -> int:
        """Log a gate's decision; returns its sequence number."""
        values = (round, candidate, champion, decision, reason, _dump(details or {}))
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO verdicts (round, candidate, champion, decision, reason, details)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                values,
            )
        return int(cursor.lastrowid or 0)

    def verdicts(self) -> list[Verdict]:
        """All verdicts, oldest first."""
        rows = self._rows("SELECT * FROM verdicts ORDER BY sequence")
        return [Verdict(**{**row, "details": json.loads(row["details"])}) for row in rows]

    def add_feedback(self, key: str, ref: str, content: Mapping[str, Any]) -> bool:
        """Store feedback once per ``key``; False when the key is known, and nothing is changed."""
        with self._transaction():
            cursor = self._db.execute(
                "INSERT OR IGNORE INTO feedback (key, ref, content) VALUES (?, ?, ?)",
                (key, ref, _dump(content)),
            )
        return cursor.rowcount == 1

    def feedback(self, after: int = 0) -> list[Feedback]:
        """Feedback with a sequence number above ``after``, oldest first."""
        rows = self._rows("SELECT * FROM feedback WHERE sequence > ? ORDER BY sequence", after)
        return [Feedback(**{**row, "content": json.loads(row["content"])}) for row in rows]

    def backup(self, target: Path | str) -> None:
        """Write a whole copy to ``target``, also while others write to the registry."""
        with atomic.new_folder(Path(target), replace=True) as folder, self._errors():
            copy = sqlite3.connect(folder / self.path.name)
            try:
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()

    def _entry(self, ref: str) -> Entry:
        name, version = parse_ref(ref)
        row = self._db.execute(
            "SELECT * FROM artifacts WHERE name = ?1 AND (?2 IS NULL OR version = ?2)"
            " ORDER BY version DESC LIMIT 1",
            (name, version),
        ).fetchone()
        if row is None:
            raise InputError(Problem(str(self.path), None, ref, "not in the registry"))
        return _entry(dict(row))


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(**{**row, "figures": json.loads(row["figures"])})
