"""Kinds of records on the command line, and which one a file holds."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from burnish.config import InputError, Problem


class RecordKind(StrEnum):
    """What a file holds."""

    document = "document"
    example = "example"
    prompt = "prompt"
    preference = "preference"
    feedback = "feedback"
    rollout = "rollout"


MOST_FIELDS_FIRST = (
    RecordKind.rollout,
    RecordKind.preference,
    RecordKind.feedback,
    RecordKind.example,
    RecordKind.prompt,
    RecordKind.document,
)


def guess(file: Path) -> RecordKind:
    """The kind with the fewest bad rows among the first. Raises InputError where all are bad."""
    from burnish.records import KINDS
    from burnish.store import tables

    readable: dict[RecordKind, int] = {}
    for name in MOST_FIELDS_FIRST:
        problems: list[Problem] = []
        try:
            readable[name] = len(tables.read(file, KINDS[name], limit=50, problems=problems))
        except InputError as error:
            # Text is read as documents only: no such format says nothing about other kinds.
            if not file.exists():
                raise error from None
    best = max(readable, key=lambda name: readable[name], default=None)
    if best is None or not readable[best]:
        known = ", ".join(MOST_FIELDS_FIRST)
        expected = f"expected one of {known}; --kind shows what is wrong with each row"
        raise InputError(Problem(str(file), None, "", "holds no known records", expected))
    return best
