"""``eval`` and ``compare``: measure models on evaluation files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich import box
from rich.table import Table

from burnish.cli.models_of import resolve_model
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, out, print_json, progress, say
from burnish.config import InputError, Problem

Tasks = Annotated[
    list[Path] | None,
    typer.Option("--tasks", help="An evaluation file (repeatable); the quickstart's by default."),
]
Model = Annotated[str, typer.Argument(help="A folder, a run, a shipped name or a hub id.")]
STAGE = "measure.evaluate"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        "eval",
        epilog=example("burnish eval quickstart", "burnish eval models/mine --tasks mine.jsonl"),
    )(evaluate)
    app.command(epilog=example("burnish compare burnish-tiny quickstart"))(compare)


def evaluate(
    model: Model, tasks: Tasks = None, runs: Runs = DEFAULT_RUNS, json_: AsJson = False
) -> None:
    """Measure a model on generated replies, with 95 % intervals."""
    found = measure({"model": resolve_model(model, runs)}, tasks, quiet=json_)
    figures = found["model"]
    if json_:
        print_json({"model": model, "figures": figures})
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    table.add_column(model, justify="right")
    for name, figure in figures.items():
        table.add_row(name, _shown(figure))
    out.print(table)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The model before.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model after.")],
    tasks: Tasks = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Measure two models on the same items and say what differs beyond chance."""
    models = {"a": resolve_model(a, runs), "b": resolve_model(b, runs)}
    found = measure(models, tasks, quiet=json_)
    if json_:
        print_json(
            {"a": {"model": a, "figures": found["a"]}, "b": {"model": b, "figures": found["b"]}}
        )
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    for column in (a, b, "change"):
        table.add_column(column, justify="right")
    for name, before in found["a"].items():
        after = found["b"].get(name)
        if after is not None:
            table.add_row(name, _shown(before), _shown(after), _change(before, after))
    out.print(table)
    say("a change is marked ▲ or ▼ where the 95 % intervals do not overlap", style="dim")


def measure(
    models: dict[str, str], tasks: list[Path] | None, quiet: bool
) -> dict[str, dict[str, dict[str, float]]]:
    """The figures of each model: ``{model: {figure: {"value", "low", "high", "n"}}}``."""
    from burnish.cli.one_stage import run_stages

    described = own_tasks(tasks) if tasks else shipped_tasks()
    stages = {
        name: {"run": STAGE, "model": ref, "tasks": described} for name, ref in models.items()
    }
    first = next(iter(models.values()))
    with tempfile.TemporaryDirectory(prefix="burnish-eval-") as work:
        made = run_stages(stages, model=first, work=Path(work), progress=progress(quiet))
    by_name = {stage["name"]: stage for stage in made.summary["stages"]}
    return {name: by_name[name]["figures"] for name in models}


def own_tasks(files: list[Path]) -> list[dict[str, Any]]:
    """Task settings for a user's own files, each named after its file."""
    described = []
    for file in files:
        if not file.is_file():
            raise InputError(Problem(str(file), None, "--tasks", "no such file"))
        name = file.name.split(".")[0].lower().replace("-", "_")
        described.append({"name": name, "data": str(file.resolve())})
    return described


def shipped_tasks() -> list[dict[str, Any]]:
    """The evaluation tasks of the quickstart."""
    from burnish.recipes import resolve

    recipe = yaml.safe_load(resolve("quickstart").read_text(encoding="utf-8"))
    listed = [stage["tasks"] for stage in recipe["round"].values() if stage["run"] == STAGE]
    tasks: list[dict[str, Any]] = listed[0]
    return tasks


def _shown(figure: dict[str, float]) -> str:
    value, low, high = (figure[key] for key in ("value", "low", "high"))
    return f"{value:.3g} [{low:.3g}, {high:.3g}]"


def _change(before: dict[str, float], after: dict[str, float]) -> str:
    difference = after["value"] - before["value"]
    apart = after["low"] > before["high"] or after["high"] < before["low"]
    mark = ("▲" if difference > 0 else "▼") if apart else " "
    return f"{mark} {difference:+.3g}"
