"""``data quarantine``: data without all that descends from a source or a record."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.data.why import printable
from burnish.cli.shared import AsJson, example, print_json, say

if TYPE_CHECKING:
    from burnish.tracing.quarantine import Quarantine

EXAMPLE = example(
    "burnish data quarantine forum-2019 data/ -o clean",
    "burnish data quarantine clean.quarantine.jsonl more.jsonl -o more-clean.jsonl",
)


def quarantine(
    target: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE_OR_ID",
            help="A source, a record's id, a file of origin, or the list of an earlier quarantine.",
        ),
    ],
    paths: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Data files, folders, run folders.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--out", help="A folder to make; for one file, a file.")
    ],
    json_: AsJson = False,
) -> None:
    """Write data without what descends from a source or record, and name the artifacts it touched.

    Beside OUT comes OUT.quarantine.jsonl: each removed record and the chain that leads to it.
    """
    from burnish.tracing import quarantine as work
    from burnish.tracing.index import Index

    listed = output.with_name(f"{output.name}.quarantine.jsonl")
    with Index(paths) as index:
        known = target.endswith(".quarantine.jsonl")
        targets = work.targets_of(Path(target)) if known else [target]
        found = work.quarantine(index, targets, output, strict=not known)
        work.write_list(index, listed)
    if json_:
        print_json({"output": str(output), "list": str(listed), **asdict(found)})
        return
    _show(found, output, listed)


def _show(found: Quarantine, output: Path, listed: Path) -> None:
    say(f"{found.removed} records removed, {found.kept} kept → {output}")
    for file, count in found.by_file.items():
        say(f"  {file:<40} {count}")
    for chain in found.examples[:5]:
        say("  such as  " + printable(" ← ".join(chain)))
    say(f"list     {listed}")
    if found.affected:
        say("affected artifacts:")
        for ref, how in found.affected.items():
            say(f"  {ref:<24} {how}")
    for note in found.notes:
        say(f"note: {note}")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog=EXAMPLE)(quarantine)
