"""Data files as arguments of several ``data`` commands."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.config import InputError, Problem

if TYPE_CHECKING:
    from burnish.records import Record


class RecordKind(StrEnum):
    """What a file holds: the keys of ``records.KINDS``, known without loading it."""

    rollout = "rollout"
    preference = "preference"
    feedback = "feedback"
    example = "example"
    prompt = "prompt"
    document = "document"


Files = Annotated[list[Path], typer.Argument(help="Data files, or folders of them.")]
Out = Annotated[Path, typer.Option("-o", "--out", help=".jsonl, .json, with .gz, or .parquet.")]
Kind = Annotated[
    RecordKind | None, typer.Option("--kind", help="What it holds; found out where not given.")
]

Workers = Annotated[
    str, typer.Option("--workers", help="Processes, ray, or ray:ADDRESS of a cluster.")
]


def read(file: Path, kind: RecordKind | None) -> tuple[RecordKind, list[Record], list[Problem]]:
    """The records of a file and what is wrong with the others.

    Without ``kind``, the kind with the fewest bad rows among the first is taken.
    """
    from burnish.records import KINDS
    from burnish.store import tables

    kind = kind or guess(file)
    problems: list[Problem] = []
    return kind, list(tables.read(file, KINDS[kind], problems=problems)), problems


def guess(file: Path) -> RecordKind:
    """The kind that most of the first rows of a file fit.

    Raises:
        InputError: none fits, or there is no such file.
    """
    from burnish.records import KINDS
    from burnish.store import tables

    found = tables.kind_of(file)
    for name in RecordKind:
        if KINDS[name] is found:
            return name
    expected = f"expected one of {', '.join(RecordKind)}; --kind shows what is wrong with each row"
    raise InputError(Problem(str(file), None, "", "holds no known records", expected))
