"""``data clean``: a corpus for continued pre-training, and what was taken out of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from burnish.cli.data.files import Workers
from burnish.cli.shared import (
    AsJson,
    Set,
    example,
    out,
    print_json,
    progress,
    refuse_existing,
    say,
    settings_from,
)

if TYPE_CHECKING:
    from burnish.selection.corpus import CleanReport


def clean(
    files: Annotated[list[Path], typer.Argument(help="Files or folders of documents.")],
    out_: Annotated[Path, typer.Option("-o", "--out", help="A new folder for the corpus.")],
    workers: Workers = "1",
    set_: Set = None,
    json_: AsJson = False,
) -> None:
    """Normalise, drop boilerplate, other languages, poor text and copies; replace personal data.

    Writes documents.jsonl and clean.json, the report. --set takes the settings of curate.clean's
    clean, such as quality.en.words=[20,100000] or pii=null; the recipe reference lists them.
    Interrupted, the same command goes on where it stopped.
    """
    from burnish import flow
    from burnish.cleaning.quality import read_words
    from burnish.selection import corpus
    from burnish.selection.clean_settings import CleanSettings
    from burnish.store.atomic import new_folder

    refuse_existing(out_)
    settings = settings_from(CleanSettings, {}, set_)
    named = settings.quality.bad_words if settings.quality else None
    words = read_words(Path(named)) if named else []
    means = flow.Means(flow.Executor.parse(workers), progress=progress(json_))
    with new_folder(out_) as folder:
        report = corpus.clean(files, folder, flow.work_folder(out_), settings, words, means)
    if json_:
        print_json({"out": str(out_), **asdict(report)})
    else:
        show(report)
        say(f"wrote {out_}")


def show(report: CleanReport) -> None:
    """The funnel as a table, an example of each step, and what was changed."""
    table = Table(box=box.SIMPLE_HEAD, title="documents", title_justify="left")
    for column in ("step", "in", "removed", "left", "reasons"):
        table.add_column(column, justify="left" if column in ("step", "reasons") else "right")
    for step in report.funnel:
        found = report.reasons.get(step.name, {})
        reasons = ", ".join(f"{name} {count}" for name, count in list(found.items())[:4])
        counts = (str(step.entered), str(step.removed), str(step.left))
        table.add_row(step.name, *counts, reasons)
    out.print(table)
    for step in report.funnel:
        for gone in step.examples:
            say(f"{step.name}: {gone.reason}", style="dim")
            say(f"  {gone.id}  {gone.text[:100]!r}", style="dim")
    before, after = report.characters
    replaced = ", ".join(f"{kind} {count}" for kind, count in report.pii.items()) or "none"
    say(f"characters {before} to {after}, languages {report.languages}")
    say(f"lines of boilerplate {report.lines}, copied paragraphs {report.paragraphs}")
    say(f"personal data replaced: {replaced}")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog=example("burnish data clean pages.jsonl -o corpus"))(clean)
