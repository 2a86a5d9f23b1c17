"""``review``: what people should look at, how far they are, and what they decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from burnish.cli.data.agree import cells
from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    Set,
    example,
    out,
    print_json,
    refuse_existing,
    run_folder,
    say,
    settings_from,
)
from burnish.config import InputError, Problem
from burnish.store.metrics import finite
from burnish.store.sheets import lines

if TYPE_CHECKING:
    from burnish.evals.agreement import Agreement
    from burnish.review.desk import Case
    from burnish.review.figures import Reviewer

app = typer.Typer(help="Human review: open, status, export.", no_args_is_help=True)
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name or folder.")]


@app.command(
    "open",
    epilog=example(
        "burnish review open quickstart",
        "burnish review open quickstart --gold known.jsonl --set most=300 --set singles=0.3",
    ),
)
def open_(
    run: RunName,
    gold: Annotated[
        Path | None, typer.Option("--gold", help="Preferences whose chosen reply is surely better.")
    ] = None,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Lay a run's pairs on its desk, the most dangerous and most doubtful first.

    Again later, it adds what the run made since. --set takes most, gold, spot, overlap, singles,
    reviewers, bound and seed. Without --gold, what a verifier decides are the gold checks.
    """
    from burnish.records import Preference
    from burnish.review.open import fill
    from burnish.review.queue import ReviewSettings
    from burnish.store import tables

    settings = settings_from(ReviewSettings, {}, set_)
    known = tables.read(gold, Preference) if gold is not None else []
    new = fill(run_folder(run, runs), settings, known)
    if json_:
        print_json({"new": new})
    else:
        say(f"{new} new items on the desk; burnish ui shows them under Review")


@app.command(epilog=example("burnish review status quickstart"))
def status(run: RunName, runs: Runs = DEFAULT_RUNS, json_: AsJson = False) -> None:
    """Say how far a review is, how reviewers agree, whether the machine's labels may be used."""
    from burnish.review import figures
    from burnish.review.people import people

    found = people(_desk(run, runs))
    told = figures.progress(found.cases)
    reviewers = figures.reviewers(found.cases, found.names, found.settings.bound)
    among = figures.among_people(found.cases, found.without)
    machine = figures.with_machine(found.cases, without=found.without)
    alone = figures.among_people(found.cases, found.without, single=True)
    if json_:
        rows = [{**asdict(one), "an_hour": one.an_hour} for one in reviewers]
        shown = {"progress": told, "reviewers": rows, "agreement": among and asdict(among),
                 "agreement_singles": alone and asdict(alone)}  # fmt: skip
        print_json(finite(shown | {"machine": machine and asdict(machine)}))
        return
    say(
        "{decided} of {items} items decided, {decisions} decisions; {disputed} disagreements,"
        " {settled} settled, {locked} locked".format(**told)
    )
    _print_reviewers(reviewers)
    for title, agreed in (("agreement", among), ("single replies", alone)):
        if agreed is not None:
            _print_agreement(title, agreed)
    if machine is None:
        say("the machine's labels: no spot check was decided yet")
    else:
        said = "may be used" if machine.usable else "may not be used"
        reasons = "".join(f"; {reason}" for reason in machine.reasons)
        say(f"the machine's labels {said} by {machine.items} spot checks{reasons}")


def _print_reviewers(reviewers: Sequence[Reviewer]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("reviewer")
    for column in ("decided", "edited", "an hour", "gold right", "95 % interval", "gold"):
        table.add_column(column, justify="right")
    for one in reviewers:
        name = f"{one.name} (below the bound, left out)" if one.unreliable else one.name
        row = (str(one.decided), str(one.edited), str(one.an_hour or ""), *cells(one.right))
        table.add_row(name, *row)
    out.print(table)


def _print_agreement(title: str, among: Agreement) -> None:
    from burnish.review.figures import MACHINE

    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(title)
    for column in ("value", "95 % interval", "items"):
        table.add_column(column, justify="right")
    table.add_row("people (alpha)", *cells(among.people))
    for name, figure in among.pairs.items():
        if not name.endswith(f"/ {MACHINE}"):
            table.add_row(f"{name} (kappa)", *cells(figure))
    out.print(table)


@app.command(
    epilog=example(
        "burnish review export quickstart --out people.jsonl",
        "burnish review export quickstart --labels labels.jsonl --audit audit.csv",
    )
)
def export(
    run: RunName,
    out_: Annotated[Path | None, typer.Option("--out", help="File for the preferences.")] = None,
    feedback: Annotated[
        Path | None, typer.Option("--feedback", help="File for the single replies, good or bad.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="JSONL for burnish data agree.")
    ] = None,
    audit: Annotated[Path | None, typer.Option("--audit", help="CSV of all that was done.")] = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Write what people decided as preferences, their spot checks as labels, or the audit trail."""
    from burnish.review.desk import Desk
    from burnish.review.figures import label_rows
    from burnish.review.people import people
    from burnish.store import atomic, tables
    from burnish.store.lines import as_lines

    for path in (out_, feedback, labels, audit):
        if path is not None:
            refuse_existing(path)
    path = _desk(run, runs)
    told = people(path)
    cases, found = told.cases, told.found
    for wanted, records in ((out_, found.pairs), (feedback, found.replies)):
        if wanted is not None and not records:
            expected = "decisions in burnish ui"
            raise InputError(Problem(run, None, "", "nobody decided anything yet", expected))
        if wanted is not None:
            tables.write(wanted, records)
    if labels is not None:
        atomic.write_text(labels, as_lines(label_rows(cases)))
    if audit is not None:
        with Desk(path) as desk:
            atomic.write_text(audit, as_csv(desk.audit()))
    if json_:
        print_json({"pairs": len(found.pairs), "replies": len(found.replies),
                    "items": len(found.items), "left_out": found.left_out,
                    "labels": _spots(cases)})  # fmt: skip
        return
    alone = f" and {len(found.replies)} single replies" if found.replies else ""
    say(f"{len(found.pairs)} pairs{alone} of {len(found.items)} items")
    for reason, count in found.left_out.items():
        say(f"left out: {reason} {count}")


def _spots(cases: Sequence[Case]) -> int:
    return sum(case.item.kind == "spot" and bool(case.votes) for case in cases)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same columns as CSV."""
    head = list(rows[0]) if rows else ["sequence"]
    return "".join(lines(head, [[row[name] for name in head] for row in rows]))


def _desk(run: str, runs: Path) -> Path:
    from burnish.review.desk import place

    path = place(run_folder(run, runs))
    if not path.is_file():
        raise InputError(
            Problem(str(path), None, "", "no review yet", f"burnish review open {run}")
        )
    return path
