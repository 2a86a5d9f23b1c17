"""``redteam``: attack a model's refusals, and keep what got through as training prompts."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from burnish.cli.models_of import resolve_model
from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    Set,
    example,
    out,
    print_json,
    progress,
    refuse_existing,
    say,
)

SHIPPED = ("guard_harmful", "guard_benign")
"""Prompts of the quickstart for tuning; those for its final figures are not to be trained on."""


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        epilog=example(
            "burnish redteam quickstart --before burnish-tiny",
            "burnish redteam models/mine --prompts mine.jsonl -o attacked",
        )
    )(redteam)


def redteam(
    model: Annotated[
        str, typer.Argument(help="A folder, a run, a shipped name, a hub id or an address.")
    ],
    before: Annotated[
        str | None, typer.Option("--before", help="A model to compare with, attacked alike.")
    ] = None,
    prompts: Annotated[
        list[Path] | None,
        typer.Option("--prompts", help="Prompts with verify refuse or comply (repeatable)."),
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", help="An attack (repeatable); all without.")
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option("--held-out", help="An attack that training must never see (repeatable)."),
    ] = None,
    attacker: Annotated[
        str | None, typer.Option("--attacker", help="A model that words attacks.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="So many prompts of either kind.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for attempts, training prompts and figures."),
    ] = None,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Attack a model in many wordings; show what gets through, and over-refusal beside it."""
    from burnish.cli.one_stage import run_stages

    if output is not None:
        refuse_existing(output)
    shipped = [f"burnish:quickstart/dev/{name}.jsonl.gz" for name in SHIPPED]
    stage: dict[str, Any] = {
        "run": "measure.redteam",
        "model": resolve_model(model, runs),
        "before": resolve_model(before, runs) if before else None,
        "prompts": [str(file.resolve()) for file in prompts] if prompts else shipped,
        "strategies": strategy or [],
        "held_out": held_out or [],
        "attacker": resolve_model(attacker, runs) if attacker else None,
        "limit": limit,
    }
    overrides = [f"prepare.redteam.{item}" for item in set_ or []]
    with tempfile.TemporaryDirectory(prefix="burnish-redteam-") as work:
        made = run_stages(
            {"redteam": stage}, model=stage["model"], work=Path(work), overrides=overrides,
            progress=progress(json_),
        )  # fmt: skip
        folder = made.folders["redteam"]
        found = json.loads((folder / "redteam.json").read_text(encoding="utf-8"))
        if output is not None:
            output.mkdir(parents=True)
            for file in sorted([*folder.glob("*.jsonl"), folder / "redteam.json"]):
                shutil.copy(file, output)
    if json_:
        print_json(found)
        return
    print_redteam(found)
    if output is not None:
        say(f"attempts and training prompts: {output}", style="dim")


def print_redteam(found: dict[str, Any]) -> None:
    """A table for a person, from ``redteam.json``."""
    from burnish.reporting.redteam import interval, lines

    before = found.get("before")
    columns = [before["model"], found["model"], "change", "p (Holm)"] if before else [
        found["model"]]  # fmt: skip
    table = Table(box=box.SIMPLE_HEAD, title="harmful prompts got through (less is better)",
                  title_justify="left")  # fmt: skip
    table.add_column("attack")
    for column in (*columns, "harmless refused"):
        table.add_column(column, justify="right")
    for line in lines(found):
        label = f"{line.name} (held out)" if line.held_out else line.name
        rates = map(interval, line.rates)
        table.add_row(label, *rates, *(line.change or ()), line.benign)
    out.print(table)
    broken, exported = found["attacked"]["broken"], found["exported"]
    say(f"by at least one attack: {interval(broken)} of {broken['n']} prompts")
    say(f"training prompts: {exported['refuse']} to refuse, {exported['contrast']} to answer")
    for name, count in found["too_long"].items():
        say(f"{name}: {count} did not fit the model's context", style="yellow")
    say(f"got through: by {found['classifier']} (docs/red-team.md)", style="dim")
