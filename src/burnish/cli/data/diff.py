"""``data diff``: what changed between two sets of records, and which phrases are new."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from burnish.cli.data.why import printable
from burnish.cli.shared import AsJson, example, out, print_json, say

if TYPE_CHECKING:
    from burnish.tracing.diff import Difference
    from burnish.tracing.triggers import TriggerDiff

EXAMPLE = example(
    "burnish data diff before.jsonl after.jsonl",
    "burnish data diff old new --by source",
)
Side = Annotated[Path, typer.Argument(help="A data file, a folder of them, or a run.")]


def diff(
    a: Side,
    b: Side,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Also compare groups of B: source, topic, label, any column."),
    ] = None,
    alpha: Annotated[
        float, typer.Option("--alpha", help="Chance of any false phrase in a comparison.")
    ] = 0.01,
    json_: AsJson = False,
) -> None:
    """Compare two sets of records: ids, texts, marks, lengths, and phrases that B has more of.

    A trigger planted into some of B's records shows as a phrase that A does not have.
    """
    from burnish.tracing.diff import difference

    found = difference(a, b, by, alpha)
    if json_:
        print_json(asdict(found))
        return
    _overview(found)
    for name, triggers in found.triggers.items():
        _triggers(name, triggers, alpha)
    if found.sampled < 1:
        say(f"note: phrases were compared in a sample of {found.sampled:.0%} of the records")


def _overview(found: Difference) -> None:
    from burnish.tracing.diff import FIELDS

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in ("A", "B"):
        table.add_column(column, justify="right")
    table.add_row("records", str(found.a.records), str(found.b.records))
    if found.a.repeated or found.b.repeated:
        table.add_row("ids that came before", str(found.a.repeated), str(found.b.repeated))
    for name in found.a.lengths:
        table.add_row(
            f"characters, {name}", f"{found.a.lengths[name]:.0f}", f"{found.b.lengths[name]:.0f}"
        )
    for field in FIELDS:
        both = Counter(found.a.counts[field]) + Counter(found.b.counts[field])
        for value, _ in both.most_common(8):
            sides = (str(side.counts[field].get(value, 0)) for side in (found.a, found.b))
            table.add_row(Text(f"{field} {printable(value)}"), *sides)
    out.print(table)
    say(f"only in A {found.only_a} · only in B {found.only_b} · in both {found.both}")
    if found.renamed:
        say(f"{found.renamed} of those only in B have the text of a record of A")
    if found.changed:
        say("changed    " + " · ".join(f"{field} {n}" for field, n in found.changed.items()))
    for name, lines in found.examples.items():
        for line in lines:
            say(f"  {name:<10} {printable(line)}")


def _triggers(name: str, found: TriggerDiff, alpha: float) -> None:
    say(f"\nPhrases, {printable(name)}: {found.phrases} of {found.compared} significant "
        f"(Holm, {alpha:g}), in {found.rows} of {found.records_b} records "
        f"({found.share:.1%})")  # fmt: skip
    if not found.found:
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("phrase")
    for column in ("records before", "records now", "log-odds", "z", "adjusted p"):
        table.add_column(column, justify="right")
    for one in found.found:
        table.add_row(
            Text(one.phrase),
            f"{one.in_a} of {found.records_a}",
            f"{one.in_b} of {found.records_b}",
            f"{one.log_odds:.2f}",
            f"{one.z:.1f}",
            f"{one.p:.2g}",
        )
    out.print(table)


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog=EXAMPLE)(diff)
