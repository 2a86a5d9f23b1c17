"""``eval`` and ``compare``: measure models on evaluation files."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich import box
from rich.table import Table

from burnish.cli.comparison import print_comparison, shown
from burnish.cli.models_of import resolve_model
from burnish.cli.one_stage import record_of
from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    example,
    out,
    print_json,
    progress,
    refuse_existing,
    say,
)
from burnish.config import InputError, Problem, is_served

if TYPE_CHECKING:
    from burnish.cli.one_stage import Made
    from burnish.reporting.refusals import Refused

Tasks = Annotated[
    list[Path] | None,
    typer.Option("--tasks", help="An evaluation file (repeatable); the quickstart's by default."),
]
Harness = Annotated[
    list[str] | None,
    typer.Option("--harness", metavar="NAME", help="A task of lm-eval (repeatable)."),
]
HarnessFolder = Annotated[
    Path | None,
    typer.Option("--harness-folder", help="Your own lm-eval tasks (YAML); nothing is fetched."),
]
Efficiency = Annotated[
    bool, typer.Option("--efficiency", help="Measure speed, latency, memory and size too.")
]
Replies = Annotated[
    Path | None,
    typer.Option("--replies", help="Folder where raw replies are kept for the next time."),
]
Model = Annotated[str, typer.Argument(help="A folder, a run, a shipped name or a hub id.")]
STAGE = "measure.evaluate"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        "eval",
        epilog=example("burnish eval quickstart", "burnish eval models/mine --tasks mine.jsonl"),
    )(evaluate)
    app.command(
        epilog=example("burnish compare burnish-tiny quickstart", "burnish compare A B C -o page")
    )(compare)


def evaluate(
    model: Model,
    tasks: Tasks = None,
    harness: Harness = None,
    harness_folder: HarnessFolder = None,
    efficiency: Efficiency = False,
    replies: Replies = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Measure a model on generated replies, with 95 % intervals."""
    measured = _measured(tasks, harness, harness_folder, efficiency)
    stages = {"model": _stage(resolve_model(model, runs), measured, replies)}
    with tempfile.TemporaryDirectory(prefix="burnish-eval-") as work:
        made = _run(stages, Path(work), quiet=json_)
        figures = figures_of(made, "model") | option_figures(made.folders["model"])
        details = record_of(made.folders["model"])["details"]
        sides = refusals_of(made, {"model": model})
    dimensions, languages = details["dimensions"], details["by_language"]
    if json_:
        found = {"model": model, "figures": figures, "dimensions": dimensions}
        print_json({**found, "by_language": languages})
        return
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("dimension", "figure", model, *languages):
        table.add_column(column, justify="left" if column in ("dimension", "figure") else "right")
    for name, figure in figures.items():
        parts = [languages[lang].get(name) for lang in languages]
        apart = [shown(part) if part else "" for part in parts]
        table.add_row(dimensions.get(name, ""), name, shown(figure), *apart)
    out.print(table)
    print_refusals(sides)


def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="A B [C ...]", help="Models; the first is the baseline.")
    ],
    tasks: Tasks = None,
    harness: Harness = None,
    harness_folder: HarnessFolder = None,
    efficiency: Efficiency = False,
    judge: Annotated[
        str | None, typer.Option("--judge", help="A model that compares replies in pairs.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option("--reward", help="A reward model that does so instead.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Folder for the page, in English and Chinese."),
    ] = None,
    replies: Replies = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Measure models on the same items and say what differs from the first beyond chance."""
    from burnish.evals.compare import distinct_names

    names = distinct_names(models)
    if html is not None:
        refuse_existing(html)
    measured = _measured(tasks, harness, harness_folder, efficiency)
    stages: dict[str, dict[str, Any]] = {
        f"m{place}": _stage(resolve_model(name, runs), measured, replies)
        for place, name in enumerate(models, 1)
    }
    stages["comparison"] = {
        "run": "measure.compare", "names": names, "evaluations": [f"@{name}" for name in stages],
        "judge": {"model": resolve_model(judge, runs)} if judge else None,
        "reward": resolve_model(reward, runs) if reward else None,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="burnish-eval-") as work:
        made = _run(stages, Path(work), quiet=json_)
        folder = made.folders["comparison"]
        found = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        refusals = refusals_of(made, dict(zip(stages, names, strict=False)))
        if html is not None:
            html.mkdir(parents=True)
            for file in sorted(folder.glob("comparison*")):
                shutil.copy(file, html)
    if json_:
        print_json(found)
        return
    print_comparison(found)
    print_refusals(refusals)
    if html is not None:
        say(f"page: {html / 'comparison.html'}", style="dim")


def _measured(
    tasks: list[Path] | None, harness: list[str] | None, folder: Path | None, efficiency: bool
) -> dict[str, Any]:
    """Settings of ``measure.evaluate`` that say what is measured."""
    if folder is not None and not harness:
        found = "given without --harness"
        raise InputError(Problem("", None, "--harness-folder", found, "--harness NAME too"))
    described = own_tasks(tasks) if tasks else [] if harness else shipped_tasks()
    measured: dict[str, Any] = {"tasks": described}
    if harness:
        where = {} if folder is None else {"folder": str(folder.resolve())}
        measured["harness"] = {"tasks": harness, **where}
    if efficiency:
        measured["efficiency"] = {}
    return measured


def _stage(ref: str, measured: dict[str, Any], replies: Path | None) -> dict[str, Any]:
    """A stage that measures a model; replies of one that is served are kept only where asked."""
    from burnish.models.gguf import cache_folder

    kept = replies or (None if is_served(ref) else cache_folder() / "replies")
    return {
        "run": STAGE, "model": ref, **measured,
        "replies": None if kept is None else str(kept.absolute()),
    }  # fmt: skip


def _run(stages: dict[str, dict[str, Any]], work: Path, quiet: bool) -> Made:
    """Run the stages in the folder ``work``."""
    from burnish.cli.one_stage import run_stages

    first: str = next(iter(stages.values()))["model"]
    return run_stages(stages, model=first, work=work, progress=progress(quiet))


def refusals_of(made: Made, names: Mapping[str, str]) -> list[Refused]:
    """Both sides of what evaluations counted as refused, by stage and the name to show."""
    from burnish.reporting.refusals import refused

    found = []
    for stage, name in names.items():
        record = record_of(made.folders[stage])
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
