"""One foreign row as a record that says where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from burnish.records import Document, Language, Record, Tier
from burnish.sources.encodings import repaired
from burnish.sources.recognise import KNOWN, Layout, recognise
from burnish.store.layouts import RowError
from burnish.store.rows import record

MOST_DEPTH = 64


@dataclass(frozen=True, kw_only=True)
class Marks:
    """What the caller says of all records; None leaves it to the row.

    ``kind`` is the class of record that every row holds.
    """

    kind: type[Record] | None = None
    source: str | None = None
    tier: Tier | None = None
    lang: Language | None = None
    synthetic: bool | None = None


@dataclass(frozen=True)
class Converted:
    """A record, the name of the layout it came in, and how many of its texts were repaired."""

    record: Record
    layout: str
    repairs: int


def convert(row: dict[str, Any], marks: Marks, title: str, place: str) -> Converted:
    """Turn a row into a record.

    Args:
        row: as read.
        marks: what holds for all records.
        title: the source of a row that does not name one.
        place: file and line, kept as the last of the record's ``parents``.

    Raises:
        RowError: it is in no known layout, damaged, or holds a NUL character.
    """
    layout = recognise(row)
    if layout is None and marks.kind is None:
        known = ", ".join(sorted(row)) or "none"
        raise RowError(("", f"unknown columns: {known:.80}", f"one of these sets: {KNOWN}"))
    kind = marks.kind or (layout or Layout("", Document)).kind
    repairs = Repairs()
    fields = {name: repairs.of(value, name) for name, value in row.items()}
    given = {
        "source": marks.source,
        "tier": marks.tier,
        "lang": marks.lang,
        "synthetic": marks.synthetic,
    }
    fields |= {name: value for name, value in given.items() if value is not None}
    own = fields.get("parents")
    if own is None or isinstance(own, list):
        fields["parents"] = (*(own or ()), place)
    made = record(kind, fields, title)
    return Converted(made, layout.name if layout else "other", repairs.count)


class Repairs:
    """Repairs texts that were decoded wrongly, anywhere in a value, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, value: Any, field: str, depth: int = 0) -> Any:
        """The value with its texts repaired; raises RowError for NUL characters."""
        if isinstance(value, str):
            if "\0" in value:
                raise RowError((field, "found a NUL character", "text"))
            found = repaired(value)
            self.count += found != value
            return found
        if depth > MOST_DEPTH:
            raise RowError((field, f"nested more than {MOST_DEPTH} deep", "a plain record"))
        if isinstance(value, dict):
            return {key: self.of(item, f"{field}.{key}", depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item, f"{field}.{i}", depth + 1) for i, item in enumerate(value)]
        return value
