"""``route``: a router between whole models, trained from evaluations and measured on others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    settings_from,
)
from burnish.config import InputError, Problem

if TYPE_CHECKING:
    from burnish.routing.evidence import Evidence
    from burnish.routing.measure import Report

app = typer.Typer(help="Routers between models: train, eval.", no_args_is_help=True)
PAGE, REPORT = "curve.html", "report.json"

Prices = Annotated[
    list[float],
    typer.Option("--price", help="Of a token of each model in turn (repeatable)."),
]
Results = Annotated[
    list[Path] | None,
    typer.Option("--results", help="An evaluation's folder for each model in turn (repeatable)."),
]
Tasks = Annotated[
    list[Path] | None,
    typer.Option("--tasks", help="Evaluate the models on this file instead (repeatable)."),
]
Margin = Annotated[
    float | None,
    typer.Option("--margin", min=0, max=1, help="Of the score, given up for a cheaper model."),
]


@app.command(
    epilog=example(
        "burnish route train models/small models/large --price 1 --price 8 --tasks dev.jsonl "
        "--out routers/mine",
    )
)
def train(
    models: Annotated[list[str], typer.Argument(metavar="A B ...", help="As burnish serve will.")],
    price: Prices,
    out_: Annotated[Path, typer.Option("--out", help="The folder the router is written to.")],
    results: Results = None,
    tasks: Tasks = None,
    margin: Margin = None,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Train a router from what each model answered, and measure it on prompts held out from that.

    --set takes the router's settings: heldout, strength, embed.encoder.
    """
    from burnish.cli.one_stage import work_folder
    from burnish.routing import measure, router
    from burnish.routing.evidence import divided
    from burnish.store import atomic, manifest

    refuse_existing(out_)
    settings = settings_from(router.RouterSettings, {"margin": margin}, set_)
    work = work_folder(out_)
    evidence = _evidence(models, price, results, tasks, work, runs, json_)
    kept, heldout = divided(evidence, settings.heldout, seed=0)
    made = router.train(kept, settings)
    report = measure.measure(made, heldout)
    with atomic.new_folder(out_) as folder:
        router.write(made, folder)
        atomic.write_json(folder / REPORT, {"trained": len(kept.texts), **report.as_json()})
        atomic.write_text(folder / PAGE, measure.page(report, out_.name))
        manifest.seal(folder)
    _clear(work)
    if json_:
        print_json({"out": str(out_), "trained": len(kept.texts), **report.as_json()})
        return
    _show(report)
    say(f"wrote {out_}, trained on {len(kept.texts)} prompts; the trade-off: {out_ / PAGE}")


@app.command(
    "eval",
    epilog=example("burnish route eval routers/mine --price 1 --price 8 --tasks test.jsonl"),
)
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="ROUTER", help="A router's folder.")],
    price: Prices,
    results: Results = None,
    tasks: Tasks = None,
    margin: Margin = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="File for the trade-off, drawn.")
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Measure a router on evaluations it was not trained on."""
    from burnish.routing import measure, router
    from burnish.store import atomic

    found = router.read(folder)
    work = folder.with_name(f".{folder.name}.eval")
    evidence = _evidence(list(found.models), price, results, tasks, work, runs, json_)
    report = measure.measure(found, evidence, margin)
    _clear(work)
    if page is not None:
        atomic.write_text(page, measure.page(report, folder.name))
    if json_:
        print_json({"router": str(folder), **report.as_json()})
        return
    _show(report)


def _evidence(
    models: list[str],
    prices: list[float],
    results: list[Path] | None,
    tasks: list[Path] | None,
    work: Path,
    runs: Path,
    quiet: bool,
) -> Evidence:
    """What the models answered, evaluated here where no results are given."""
    from burnish.routing.evidence import gather

    if bool(results) == bool(tasks):
        found = "both given" if results else "neither given"
        raise InputError(Problem("", None, "--results, --tasks", found, "one of the two"))
    folders = results or _evaluated(models, tasks or [], work, runs, quiet)
    return gather(models, folders, prices)


def _evaluated(
    models: list[str], tasks: list[Path], work: Path, runs: Path, quiet: bool
) -> list[Path]:
    from burnish.cli.eval_commands import STAGE, own_tasks
    from burnish.cli.one_stage import run_stages

    refs = [resolve_model(name, runs) for name in models]
    described = own_tasks(tasks)
    stages = {
        f"model_{place}": {"run": STAGE, "model": ref, "tasks": described}
        for place, ref in enumerate(refs)
    }
    made = run_stages(stages, model=refs[0], work=work, progress=progress(quiet))
    return [made.folders[name] for name in stages]


def _clear(work: Path) -> None:
    from burnish.store.atomic import remove_folder

    if work.is_dir():
        remove_folder(work)


def _show(report: Report) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("asks")
    for column in ("quality", "- largest", "cost", "saved"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, way in report.ways.items():
        quality, gap, saved = way.quality, way.difference, way.saved
        table.add_row(
            name, f"{quality.value:.2f} [{quality.low:.2f}, {quality.high:.2f}]",
            f"{gap.value:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]", f"{way.cost.value:.4g}",
            f"{saved.value:.0%} [{saved.low:.0%}, {saved.high:.0%}]",
        )  # fmt: skip
    out.print(table)
    accuracy = report.accuracy
    shares = ", ".join(f"{share:.0%} to {name}" for name, share in report.shares.items())
    say(f"{report.prompts} prompts, {shares}; the oracle's choice in {accuracy.value:.0%} "
        f"[{accuracy.low:.0%}, {accuracy.high:.0%}]")  # fmt: skip
