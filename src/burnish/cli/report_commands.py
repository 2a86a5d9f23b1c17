"""``report``: write a run's report again, in either language, wherever wanted."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.shared import DEFAULT_RUNS, Runs, example, run_folder, say


class Language(StrEnum):
    """Languages of the report."""

    en = "en"
    zh = "zh"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    shown = example("burnish report quickstart --lang zh", "burnish report quickstart --pdf")
    app.command(epilog=shown)(report)


def report(
    run: Annotated[str, typer.Argument(help="A run's name or folder.")],
    lang: Annotated[Language, typer.Option("--lang", help="English or Chinese.")] = Language.en,
    out_: Annotated[Path | None, typer.Option("--out", help="The file to write.")] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="A PDF; needs Chromium or Chrome to be installed.")
    ] = False,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Write the report of a run: one HTML file that needs nothing else, or a PDF."""
    from burnish.reporting.html import FILES, render
    from burnish.reporting.pdf import print_pdf
    from burnish.store.atomic import write_text

    folder = run_folder(run, runs)
    path = out_ or (folder / FILES[lang.value]).with_suffix(".pdf" if pdf else ".html")
    write = print_pdf if pdf else lambda page, to: write_text(to, page)
    write(render(folder, lang.value), path)
    say(f"wrote {path}")
