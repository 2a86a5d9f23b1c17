"""Records of a run, looked through file by file: which there are, which fit a filter."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path

from burnish.config import InputError, Problem
from burnish.records import Record
from burnish.selection.texts import texts_of
from burnish.store import tables
from burnish.tracing.collect import DataFile, collect
from burnish.tracing.files import Found, records_of, scores_of

ROWS = 50
MOST_LOOKED = 20_000
"""Records that one request looks through, whatever it finds."""
FIRST = 2000
"""Records whose columns are offered as filters."""
COLUMNS = ("kind", "tier", "source", "topic", "lang")
LISTED = 60


@dataclass(frozen=True)
class Source:
    """A file with records of one kind."""

    file: DataFile
    kind: type[Record]

    @property
    def label(self) -> str:
        """What it is called within its run."""
        return self.file.label

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.file.path.stat().st_size


@dataclass(frozen=True)
class Filters:
    """What records have to have, all of it; "" asks for nothing.

    ``text`` is looked for in texts and ids, whatever its case; ``low`` and ``high`` bound the
    score named ``score``.
    """

    file: str = ""
    kind: str = ""
    tier: str = ""
    source: str = ""
    topic: str = ""
    lang: str = ""
    score: str = ""
    low: str = ""
    high: str = ""
    text: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Filters:
        """The filters among the fields of a query.

        Raises:
            InputError: a bound is no number.
        """
        known = {field.name: given.get(field.name, "").strip() for field in fields(cls)}
        for name in ("low", "high"):
            _number(name, known[name], 0.0)
        return cls(**known)

    @property
    def asked(self) -> dict[str, str]:
        """Those that ask for something."""
        return {name: value for name, value in asdict(self).items() if value}

    def fit(self, found: Found) -> bool:
        """Whether a record has all that is asked for, its file aside."""
        columns = ((name, getattr(self, name)) for name in COLUMNS)
        if any(value and _column(found, name) != value for name, value in columns):
            return False
        if self.score and not self._scored(scores_of(found).get(self.score)):
            return False
        wanted = self.text.casefold()
        said = (found.record.id, *texts_of(found.record))
        return not wanted or any(wanted in text.casefold() for text in said)

    def _scored(self, value: float | None) -> bool:
        low, high = _number("low", self.low, -math.inf), _number("high", self.high, math.inf)
        return value is not None and low <= value <= high


@dataclass(frozen=True)
class Listing:
    """Records that fit, with their file's label; ``next`` is where to go on, "" at the end."""

    rows: Sequence[tuple[str, Found]]
    next: str
    looked: int


def files_of(run: Path) -> list[DataFile]:
    """The data files of a run that are there now, those it was given included.

    Raises:
        InputError: it has none.
    """
    made = run / "artifacts"
    if not made.is_dir():  # what else lies in a run folder are its logs
        raise InputError(Problem(str(run), None, "", "this run has made nothing yet"))
    return [file for file in _collected(run, _stamp(made)) if file.path.is_file()]


@lru_cache(64)
def _collected(run: Path, stamp: int) -> list[DataFile]:
    return collect([run]).files


def sources_of(run: Path) -> list[Source]:
    """The files of a run that hold records; raises InputError where it has no data."""
    known = ((file, _kind(file.path, _stamp(file.path))) for file in files_of(run))
    return [Source(file, kind) for file, kind in known if kind is not None]


@lru_cache(512)
def _kind(path: Path, stamp: int) -> type[Record] | None:
    return tables.kind_of(path)


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


def stamp_of(run: Path) -> str:
    """Changes when the data of a run does."""
    files = (f"{file.path}:{_stamp(file.path)}" for file in files_of(run))
    return "\n".join(files)


def matching(sources: Sequence[Source], filters: Filters) -> Iterator[tuple[str, Found]]:
    """Every record that fits, in order; bad rows are passed over."""
    for source in sources:
        if filters.file in ("", source.label):
            for found in records_of(source.file.path, source.kind, []):
                if filters.fit(found):
                    yield source.label, found


def listing(sources: Sequence[Source], filters: Filters, at: str = "") -> Listing:
    """The next records that fit, from ``at`` (``FILE.ROW`` by number) on.

    Raises:
        InputError: ``at`` is no such place.
    """
    first, row = _place(at)
    rows: list[tuple[str, Found]] = []
    looked = 0
    for number, source in enumerate(sources[first:], first):
        if filters.file not in ("", source.label):
            continue
        after = row if number == first else 0
        for found in records_of(source.file.path, source.kind, [], _From(after)):
            if len(rows) == ROWS or looked == MOST_LOOKED:
                return Listing(rows, f"{number}.{found.number}", looked)
            looked += 1
            if filters.fit(found):
                rows.append((source.label, found))
    return Listing(rows, "", looked)


@dataclass(frozen=True)
class _From:
    """All numbers from ``first`` on, as a container."""

    first: int

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number >= self.first


def _place(at: str) -> tuple[int, int]:
    file, _, row = (at or "0.0").partition(".")
    if not (file.isdecimal() and row.isdecimal() and len(at) < 40):
        raise InputError(Problem("", None, "at", f"found {at!r:.80}", "FILE.ROW, two numbers"))
    return int(file), int(row)


def choices(sources: Sequence[Source]) -> dict[str, list[str]]:
    """Values of the columns, and names of scores, among the first records of each file."""
    found: dict[str, dict[str, None]] = {name: {} for name in (*COLUMNS, "score")}
    for source in sources:
        path = source.file.path
        for name, values in _choices(path, _stamp(path)).items():
            found[name] |= dict.fromkeys(values)
    return {name: sorted(values)[:LISTED] for name, values in found.items()}


@lru_cache(512)
def _choices(path: Path, stamp: int) -> dict[str, tuple[str, ...]]:
    kind = _kind(path, stamp)
    seen: dict[str, dict[str, None]] = {name: {} for name in (*COLUMNS, "score")}
    for found in islice(records_of(path, kind, []) if kind else (), FIRST):
        for name in COLUMNS:
            if value := _column(found, name):
                seen[name][value] = None
        seen["score"] |= dict.fromkeys(scores_of(found))
    return {name: tuple(values) for name, values in seen.items()}


def _column(found: Found, name: str) -> str:
    """A column that is a filter; the kind is the record's own, whatever its row says."""
    return found.kind if name == "kind" else found.column(name)


def _number(name: str, given: str, missing: float) -> float:
    if not given:
        return missing
    try:
        return float(given)
    except ValueError:
        raise InputError(Problem("", None, name, f"found {given!r:.80}", "a number")) from None
