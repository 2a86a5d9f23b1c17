"""An index over record files: where each id stands, what it was made from, what was made of it.

It lies in a temporary SQLite file, so that memory does not grow with the data. A record is its id:
the same id in several files is one record with several places.
"""

from __future__ import annotations

import difflib
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.config import Problem
from burnish.store import tables
from burnish.tracing.collect import Collected, DataFile, collect
from burnish.tracing.files import records_of

PLACE = re.compile(r"(?P<file>.+?)(?::\d+|\[\d+\])", re.DOTALL)
"""A parent that is no record: file and line, or file and position, of an import."""

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE records (id TEXT, file INTEGER, number INTEGER, line INTEGER, source TEXT);
CREATE TABLE edges (child TEXT, parent TEXT, PRIMARY KEY (child, parent)) WITHOUT ROWID;
CREATE TABLE gone (id TEXT PRIMARY KEY, via TEXT, level INTEGER) WITHOUT ROWID;
CREATE INDEX gone_level ON gone (level);
"""
_INDICES = """
CREATE INDEX by_id ON records (id);
CREATE INDEX by_source ON records (source);
CREATE INDEX by_parent ON edges (parent);
"""
_BATCH = 1000
_LAST = "\U0010ffff"


@dataclass(frozen=True)
class Place:
    """Where a record stands: ``number`` counts the rows of a file from 0, ``line`` from 1."""

    id: str
    file: DataFile
    kind: str
    number: int
    line: int | None
    source: str

    def __str__(self) -> str:
        at = f":{self.line}" if self.line else f"[{self.number}]"
        return f"{self.file.path}{at}"


class Index:
    """Lineage of the records of files, folders and runs. Close it or use it as a context.

    ``problems`` are the rows that are no records, ``passed_over`` files without any record.

    Raises:
        InputError: a path does not exist or holds no data files.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.collected: Collected = collect(paths)
        self.problems: list[Problem] = []
        self.passed_over: list[Path] = []
        self.files: list[DataFile] = []
        self._kinds: list[str] = []
        self._folder = tempfile.TemporaryDirectory(prefix="burnish-lineage-")
        # Threads may take turns with it; two at once must not.
        self._db = sqlite3.connect(
            Path(self._folder.name) / "lineage.sqlite", check_same_thread=False
        )
        self._db.executescript(_SCHEMA)
        for file in self.collected.files:
            self._read(file)
        self._db.executescript(_INDICES)

    def _read(self, file: DataFile) -> None:
        kind = tables.kind_of(file.path)
        if kind is None:
            self.passed_over.append(file.path)
            return
        place = len(self.files)
        self.files.append(file)
        self._kinds.append(kind.__name__.lower())
        records: list[tuple[str, int, int, int | None, str]] = []
        edges: list[tuple[str, str]] = []
        for found in records_of(file.path, kind, self.problems):
            made = found.record
            records.append((made.id, place, found.number, found.line, made.source))
            edges += [(made.id, parent) for parent in found.parents if parent != made.id]
            if len(records) >= _BATCH:
                self._add(records, edges)
        self._add(records, edges)

    def _add(
        self, records: list[tuple[str, int, int, int | None, str]], edges: list[tuple[str, str]]
    ) -> None:
        self._db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", records)
        self._db.executemany("INSERT OR IGNORE INTO edges VALUES (?, ?)", edges)
        records.clear()
        edges.clear()

    def close(self) -> None:
        """Remove the index."""
        self._db.close()
        self._folder.cleanup()

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __len__(self) -> int:
        """How many places hold a record."""
        return int(self._db.execute("SELECT count(*) FROM records").fetchone()[0])

    def places(self, id: str) -> list[Place]:
        """Every place of a record, in the order the files were read."""
        rows = self._db.execute(
            "SELECT file, number, line, source FROM records WHERE id = ? ORDER BY file, number",
            (id,),
        )
        return [
            Place(id, self.files[file], self._kinds[file], number, line, source)
            for file, number, line, source in rows
        ]

    def parents(self, id: str) -> list[str]:
        """What a record was made from: ids and places of imports."""
        return self._column("SELECT parent FROM edges WHERE child = ? ORDER BY parent", id)

    def children(self, id: str) -> list[str]:
        """What was made of a record directly."""
        return self._column("SELECT child FROM edges WHERE parent = ? ORDER BY child", id)

    def ancestors(self, id: str) -> list[str]:
        """What a record was made from, near and far, without itself."""
        return self._column(_FAR.format("parent", "child"), id)

    def descendants(self, id: str) -> list[str]:
        """What was made of a record, near and far, without itself."""
        return self._column(_FAR.format("child", "parent"), id)

    def nearest(self, id: str, count: int = 5) -> list[str]:
        """Known ids that look like ``id``: most alike among those with the same beginning."""
        for length in range(len(id), -1, -1):
            known = self._column(
                "SELECT DISTINCT id FROM records WHERE id >= ? AND id < ? LIMIT 2000",
                id[:length],
                id[:length] + _LAST,
            )
            close = difflib.get_close_matches(id, known, count, cutoff=0.0)
            if close and (len(close) >= count or length == 0):
                return close
        return []

    def missing(self) -> Iterator[tuple[str, str]]:
        """(record, parent) where the parent is neither a record nor the place of an import."""
        rows = self._db.execute(
            "SELECT child, parent FROM edges WHERE parent NOT IN (SELECT id FROM records)"
        )
        return ((child, parent) for child, parent in rows if not PLACE.fullmatch(parent))

    def cycles(self) -> list[str]:
        """Records that are among their own ancestors, or on a path from one such to another."""
        self._db.executescript(_FREE)
        level, more = 0, 1
        while more:
            more = self._db.execute(_FREED, (level + 1, level)).rowcount
            level += 1
        self._db.execute(
            "CREATE TEMP TABLE held AS SELECT child, parent FROM edges"
            " WHERE child NOT IN (SELECT id FROM free)"
        )
        # What is left is in a cycle or below one; what has no child left there is only below.
        while self._db.execute(
            "DELETE FROM held WHERE child NOT IN (SELECT parent FROM held)"
        ).rowcount:
            pass
        return self._column("SELECT DISTINCT child FROM held ORDER BY child")

    def notes(self) -> list[str]:
        """What is to be said of the lineage as a whole: unknown origins and cycles."""
        found = list(self.collected.notes)
        missing = self.missing()
        first = next(missing, None)
        if first is not None:
            count = 1 + sum(1 for _ in missing)
            found.append(f"parents in none of the files: {count}, such as {first[1]} of {first[0]}")
        cycles = self.cycles()
        if cycles:
            found.append(
                f"records that descend from themselves: {len(cycles)}, such as {cycles[0]}"
            )
        return found

    def mark(self, targets: Sequence[str]) -> dict[str, int]:
        """Mark records and all that descends from them; returns how many each target names.

        A target is a record's id, a source, a parent that is no record here, or a file that
        records were imported from or stand in.
        """
        self._db.execute("DELETE FROM gone")
        named = {}
        for target in targets:
            seeds = dict.fromkeys(self._ids("id = ?", target), f"is {target}")
            seeds |= dict.fromkeys(self._ids("source = ?", target), f"source {target}")
            if not self.places(target):
                seeds |= dict.fromkeys(self._of_parent(target), f"made from {target}")
            seeds |= dict.fromkeys(self._of_file(target), f"stands in {target}")
            self._db.executemany("INSERT OR IGNORE INTO gone VALUES (?, ?, 0)", seeds.items())
            named[target] = len(seeds)
        level, more = 0, 1
        while more:
            more = self._db.execute(
                "INSERT OR IGNORE INTO gone SELECT child, min(parent), ? FROM edges"
                " JOIN gone ON gone.id = parent WHERE level = ? GROUP BY child",
                (level + 1, level),
            ).rowcount
            level += 1
        return named

    def _ids(self, condition: str, value: object) -> list[str]:
        return self._column(f"SELECT DISTINCT id FROM records WHERE {condition}", value)  # noqa: S608

    def _of_parent(self, target: str) -> list[str]:
        """Children of a parent by name, or of any place in a file of that name."""
        found = self._column("SELECT child FROM edges WHERE parent = ?", target)
        begins = self._db.execute(
            "SELECT child, parent FROM edges WHERE substr(parent, 1, ?) = ?", (len(target), target)
        )
        for child, parent in begins:
            match = PLACE.fullmatch(parent)
            if match and match["file"] == target:
                found.append(child)
        return found

    def _of_file(self, target: str) -> list[str]:
        numbers = [
            number
            for number, file in enumerate(self.files)
            if target in (str(file.path), file.label)
            or Path(target).absolute() == file.path.absolute()
        ]
        return [id for number in numbers for id in self._ids("file = ?", number)]

    def chain(self, id: str) -> list[str]:
        """Why a record is marked: itself, the parents that led to it, and what the first one is."""
        found = [id]
        while True:
            via, level = self._db.execute(
                "SELECT via, level FROM gone WHERE id = ?", (found[-1],)
            ).fetchone()
            found.append(via)
            if level == 0:
                return found

    def marked(self, file: int) -> Iterator[tuple[str, int, int | None]]:
        """Marked records of the file at a place of ``files``: id, number, line."""
        yield from self._db.execute(
            "SELECT id, number, line FROM records JOIN gone USING (id) WHERE file = ?"
            " ORDER BY number",
            (file,),
        )

    def _column(self, query: str, *values: object) -> list[str]:
        return [row[0] for row in self._db.execute(query, values)]


_FAR = (
    "WITH RECURSIVE far (id) AS (SELECT {0} FROM edges WHERE {1} = ?1"
    " UNION SELECT {0} FROM edges JOIN far ON far.id = {1})"
    " SELECT id FROM far WHERE id <> ?1 ORDER BY id"
)
# Freed, level by level, is what has only parents that are freed: it is in no cycle.
_FREE = """
DROP TABLE IF EXISTS free;
DROP TABLE IF EXISTS held;
CREATE TEMP TABLE free (id TEXT PRIMARY KEY, level INTEGER) WITHOUT ROWID;
CREATE INDEX free_level ON free (level);
INSERT INTO free SELECT DISTINCT parent, 0 FROM edges WHERE parent NOT IN (SELECT child FROM edges);
"""
_FREED = """
INSERT OR IGNORE INTO free SELECT DISTINCT edges.child, ? FROM free
JOIN edges ON edges.parent = free.id WHERE free.level = ? AND NOT EXISTS (
    SELECT 1 FROM edges AS other WHERE other.child = edges.child
    AND other.parent NOT IN (SELECT id FROM free))
"""
