"""Import: everything that is named, row by row, into a folder of records."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.records import Record
from burnish.sources import files
from burnish.sources.convert import Converted, Marks, convert
from burnish.sources.files import Source
from burnish.sources.output import Output, tidy
from burnish.sources.recognise import left_out
from burnish.store.artifacts import code_version
from burnish.store.formats import Row
from burnish.store.layouts import RowError

PART_ROWS = 20_000
PART_CHARACTERS = 16 * 2**20
SHOWN = 20
_COLUMNS_COUNTED = 1000

Watch = Callable[["Tally"], None]


@dataclass
class FileNote:
    """What one source gave: ``encoding`` is "" where its format settles that."""

    file: str
    encoding: str = ""
    records: int = 0
    rejected: int = 0
    repaired: int = 0

    def worth_telling(self) -> bool:
        """Whether anything but plain success in UTF-8 is to be said of it."""
        return bool(self.rejected or self.repaired) or self.encoding not in ("", "utf-8")


@dataclass
class Tally:
    """How far an import has come, and what it has seen.

    ``source`` and ``rows`` are its place: the number of the source and the rows of it that are
    dealt with. ``counts`` has a tuple of layout, kind and language for its keys. ``renamed`` are
    records that got an id of their own, ``repeated`` rows rejected as copies of earlier ones,
    ``problems`` the first findings, ``notes`` the sources that are worth telling of.
    """

    source: int = 0
    rows: int = 0
    counts: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    rejected: int = 0
    repeated: int = 0
    renamed: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    notes: list[FileNote] = field(default_factory=list)
    note: FileNote = field(default_factory=lambda: FileNote(""))

    @property
    def records(self) -> int:
        """How many were imported."""
        return self.counts.total()

    def by(self, part: int) -> dict[str, int]:
        """Records by layout (0), kind (1) or language (2), most first."""
        found: Counter[str] = Counter()
        for key, count in self.counts.items():
            found[key[part]] += count
        return dict(found.most_common())

    def to_json(self) -> dict[str, Any]:
        """For ``from_json``."""
        counts = [[*key, count] for key, count in self.counts.items()]
        return asdict(self) | {"counts": counts, "left_out": dict(self.left_out)}

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Tally:
        """What ``to_json`` gave."""
        counts: Counter[tuple[str, str, str]] = Counter()
        for layout, kind, lang, count in saved["counts"]:
            counts[layout, kind, lang] = count
        return cls(
            **saved
            | {
                "counts": counts,
                "left_out": Counter(saved["left_out"]),
                "problems": [Problem(**one) for one in saved["problems"]],
                "notes": [FileNote(**one) for one in saved["notes"]],
                "note": FileNote(**saved["note"]),
            }
        )

    def summary(self) -> dict[str, Any]:
        """What ``import.json`` and ``--json`` say."""
        return {
            "records": self.records,
            "rejected": self.rejected,
            "repeated": self.repeated,
            "renamed": self.renamed,
            "layouts": self.by(0),
            "kinds": self.by(1),
            "languages": self.by(2),
            "counts": [
                {"layout": layout, "kind": kind, "lang": lang, "records": count}
                for (layout, kind, lang), count in self.counts.items()
            ],
            "columns_left_out": dict(self.left_out.most_common(SHOWN)),
            "files": [asdict(note) for note in self.notes],
        }


def run(inputs: Sequence[str], output: Path, marks: Marks, watch: Watch | None = None) -> Tally:
    """Import files, folders and data sets into a new folder.

    It holds a folder of Parquet parts for each kind of record (``example/part-00000.parquet``),
    ``rejected.jsonl`` where rows were not taken, ``import.json`` with the tally, and a manifest.
    Memory does not grow with the data. An import that was stopped goes on when it is started again
    with the same inputs and marks.

    Args:
        inputs: paths, and data sets as ``hf://owner/name:config#split``.
        output: a folder that does not exist yet.
        marks: what is said of all records.
        watch: called after every thousand rows.

    Raises:
        InputError: the output exists, an input does not or is of a format that is not read, a
            package is missing, or not one row could be taken.
        StorageError: the disk is full, or another process imports to the same place.
    """
    if output.exists():
        tidy(output)
        raise InputError(Problem(str(output), None, "--out", "exists already", "a new folder"))
    found = files.sources(inputs)
    out = Output(output, _fingerprint(found, marks))
    try:
        tally = Tally.from_json(out.saved) if out.saved else Tally()
        importer = _Import(out, tally, marks, watch)
        for number in range(tally.source, len(found)):
            importer.take(found[number])
        if not tally.records:
            out.discard()
            raise InputError(_nothing(tally))
        out.keep(tally.to_json())
        out.finish(tally.summary())
    finally:
        out.close()
    return tally


def _nothing(tally: Tally) -> list[Problem]:
    more = tally.rejected - len(tally.problems)
    rest = [Problem("", None, "", f"and {more} more problems")] if more > 0 else []
    nothing = Problem("", None, "", "nothing was imported", "at least one row that is a record")
    return [nothing, *tally.problems, *rest]


def _fingerprint(found: Sequence[Source], marks: Marks) -> str:
    """A sha256 over code, settings, and names, sizes and times of the files."""
    stats = [source.path.stat() if source.path else None for source in found]
    names = [
        (source.name, source.alone, stat and (stat.st_size, stat.st_mtime_ns))
        for source, stat in zip(found, stats, strict=True)
    ]
    said = [str(value) for value in asdict(marks).values()]
    return hashlib.sha256(json.dumps([code_version(), said, names]).encode()).hexdigest()


class _Import:
    def __init__(self, out: Output, tally: Tally, marks: Marks, watch: Watch | None) -> None:
        self._out = out
        self._tally = tally
        self._marks = marks
        self._watch = watch
        self._waiting_rows = 0
        self._waiting_characters = 0

    def take(self, source: Source) -> None:
        """Import what is left of one source."""
        tally = self._tally
        done = tally.rows
        if not done:
            tally.note = FileNote(source.name)
        try:
            tally.note.encoding = files.encoding(source)
            for number, item in enumerate(files.rows(source, tally.note.encoding)):
                if number < done:
                    continue
                self._row(source, item)
                tally.rows = number + 1
                self._keep_if_full(item)
        except InputError as error:
            self._reject(*error.problems)
        if tally.note.worth_telling():
            tally.notes.append(tally.note)
        tally.source, tally.rows = tally.source + 1, 0

    def _row(self, source: Source, item: Row | Problem) -> None:
        if isinstance(item, Problem):
            self._reject(item)
            return
        place = f"{source.name}:{item.line}" if item.line else f"{source.name}{item.where}"
        try:
            found = convert(item.value, self._marks, source.title, place)
        except RowError as error:
            self._reject(*(_problem(source, item, *finding) for finding in error.findings))
            return
        self._record(source, item, found)

    def _record(self, source: Source, item: Row, found: Converted) -> None:
        tally, record = self._tally, found.record
        outcome = self._out.add(record)
        if outcome == "repeated":
            tally.repeated += 1
            expected = "each record once"
            self._reject(_problem(source, item, "id", f"{record.id!r} came before", expected))
            return
        tally.renamed += outcome == "renamed"
        tally.note.records += 1
        tally.note.repaired += found.repairs
        layout = source.form or found.layout
        tally.counts[layout, _kind(record), record.lang] += 1
        for name in left_out(item.value, type(record)):
            if name in tally.left_out or len(tally.left_out) < _COLUMNS_COUNTED:
                tally.left_out[name] += 1

    def _reject(self, *problems: Problem) -> None:
        """Note a row, or a file, that was not taken; it may have several problems."""
        self._tally.rejected += 1
        self._tally.note.rejected += 1
        room = SHOWN - len(self._tally.problems)
        self._tally.problems += problems[: max(room, 0)]
        for problem in problems:
            self._out.reject(problem)

    def _keep_if_full(self, item: Row | Problem) -> None:
        self._waiting_rows += 1
        if isinstance(item, Row):
            self._waiting_characters += _size(item.value)
        if self._watch and self._waiting_rows % 1000 == 0:
            self._watch(self._tally)
        if self._waiting_rows >= PART_ROWS or self._waiting_characters >= PART_CHARACTERS:
            self._out.keep(self._tally.to_json())
            self._waiting_rows = self._waiting_characters = 0


def _kind(record: Record) -> str:
    return type(record).__name__.lower()


def _size(value: Any) -> int:
    """Characters of all texts in a row."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 0


def _problem(source: Source, row: Row, field: str, found: str, expected: str) -> Problem:
    where = ".".join(filter(None, (row.where, field)))
    return Problem(source.name, row.line, where, found, expected)
