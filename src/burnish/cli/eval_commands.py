"""``eval`` and ``compare``: measure models on evaluation files."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich import box
from rich.table import Table

from burnish.cli.models_of import resolve_model
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, example, out, print_json, progress, say
from burnish.config import InputError, Problem

if TYPE_CHECKING:
    from burnish.cli.one_stage import Made
    from burnish.reporting.refusals import Refused

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
    with tempfile.TemporaryDirectory(prefix="burnish-eval-") as work:
        made = evaluated({"model": resolve_model(model, runs)}, tasks, Path(work), quiet=json_)
        figures = figures_of(made, "model") | option_figures(made.folders["model"])
        sides = refusals_of(made, {"model": model})
    if json_:
        print_json({"model": model, "figures": figures})
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    table.add_column(model, justify="right")
    for name, figure in figures.items():
        table.add_row(name, _shown(figure))
    out.print(table)
    print_refusals(sides)


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The model before.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The model after.")],
    tasks: Tasks = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Measure two models on the same items and say what differs beyond chance."""
    from burnish.evals.compare import compare as compare_evaluations

    models = {"a": resolve_model(a, runs), "b": resolve_model(b, runs)}
    with tempfile.TemporaryDirectory(prefix="burnish-eval-") as work:
        made = evaluated(models, tasks, Path(work), quiet=json_)
        rows = compare_evaluations(made.folders["a"], made.folders["b"])
        found = {name: figures_of(made, name) for name in models}
        refusals = refusals_of(made, {"a": a, "b": b})
    if json_:
        sides = {name: {"model": ref, "figures": found[name]} for name, ref in models.items()}
        print_json({**sides, "comparisons": [asdict(row) for row in rows]})
        return
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("figure")
    for column in (a, b, "better by", "p (Holm)", ""):
        table.add_column(column, justify="right")
    marks = {"improved": "▲ improved", "regressed": "▼ regressed", "noise": "noise"}
    for row in rows:
        measured = [found[side].get(row.metric) for side in ("a", "b")]
        shown = [_shown(figure) if figure else "" for figure in measured]
        change = row.comparison
        moved = f"{change.difference:+.3g} [{change.low:+.3g}, {change.high:+.3g}]"
        table.add_row(row.metric, *shown, moved, f"{row.adjusted_p:.3g}", marks[row.state])
    out.print(table)
    print_refusals(refusals)
    say("paired on items; “better by” is turned so that more is better", style="dim")


def evaluated(models: dict[str, str], tasks: list[Path] | None, work: Path, quiet: bool) -> Made:
    """Evaluate each model, as a stage of that name, in the folder ``work``."""
    from burnish.cli.one_stage import run_stages

    described = own_tasks(tasks) if tasks else shipped_tasks()
    stages = {
        name: {"run": STAGE, "model": ref, "tasks": described} for name, ref in models.items()
    }
    first = next(iter(models.values()))
    return run_stages(stages, model=first, work=work, progress=progress(quiet))


def refusals_of(made: Made, names: Mapping[str, str]) -> list[Refused]:
    """Both sides of what evaluations counted as refused, by stage and the name to show."""
    from burnish.reporting.refusals import refused
    from burnish.store.artifacts import RECORD

    found = []
    for stage, name in names.items():
        record = json.loads((made.folders[stage] / RECORD).read_text(encoding="utf-8"))
        found.append(refused(name, record["details"].get("refusals", {}), record["figures"]))
    return [one for one in found if one]


def print_refusals(measured: Sequence[Refused]) -> None:
    """Harmlessness and over-refusal side by side, where refusals were counted."""
    from burnish.cli.tables import refusals_table

    if measured:
        out.print(refusals_table(measured))


def figures_of(made: Made, name: str) -> dict[str, dict[str, float]]:
    """The figures of one stage: ``{figure: {"value", "low", "high", "n"}}``."""
    stages = {stage["name"]: stage for stage in made.summary["stages"]}
    figures: dict[str, dict[str, float]] = stages[name]["figures"]
    return figures


def option_figures(folder: Path) -> dict[str, dict[str, float]]:
    """Of an evaluation's multiple-choice tasks the figures by each way to score an option."""
    from burnish.evals import tasks
    from burnish.evals.compare import RESPONSES

    found = tasks.by_option_score(tasks.read(folder / RESPONSES))
    return {
        f"{name}.{kind}": asdict(figure)
        for kind, figures in found.items()
        for name, figure in figures.items()
    }


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
