"""``run``, ``check``, ``plan``, ``init`` and ``status``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    Set,
    example,
    out,
    print_json,
    progress,
    run_folder,
    say,
    warn,
)
from burnish.config import EXIT_GATE, EXIT_INTERNAL, EXIT_OK, InputError, Problem

if TYPE_CHECKING:
    from burnish.loop.recipe import Recipe

RecipeName = Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped name or a file.")]
Again = Annotated[
    list[str] | None,
    typer.Option("--rerun", metavar="STAGE", help="Make this stage again (repeatable)."),
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep what is there although settings changed.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog=example(
            "burnish run quickstart",
            "burnish run my-recipe.yaml --set seed=1 --runs /data/runs",
        )
    )(run)
    app.command(epilog=example("burnish check quickstart"))(check)
    app.command(epilog=example("burnish plan quickstart", "burnish plan smollm2 --devices 1xH100"))(
        plan
    )
    app.command(epilog=example("burnish init my-recipe.yaml"))(init)
    app.command(epilog=example("burnish status", "burnish status quickstart"))(status)


def load_recipe(name: str, overrides: Sequence[str]) -> Recipe:
    """The recipe of a shipped name or a file, with overrides."""
    from burnish.loop.recipe import load
    from burnish.recipes import resolve

    return load(resolve(name), list(overrides))


def run(
    recipe: RecipeName,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    rerun: Again = None,
    keep: Keep = False,
    json_: AsJson = False,
) -> None:
    """Run a recipe, or continue it where it stopped.

    Ends with exit code 4 when the recipe has a gate and no round passed it.
    """
    from burnish.cli.tables import print_results
    from burnish.loop.run import run as run_recipe

    loaded = load_recipe(recipe, set_ or [])
    result = run_recipe(loaded, runs, rerun=set(rerun or []), keep=keep, progress=progress(json_))
    if json_:
        print_json(result.summary)
    else:
        print_results(result.folder, out)
        if result.summary["stopped"]:
            warn(f"ended early: {result.summary['stopped']}")
    raise typer.Exit(judged(result.summary))


def judged(summary: dict[str, Any]) -> int:
    """The exit code of a finished run: 0 unless every round failed (1) or was refused (4)."""
    verdicts = summary.get("verdicts", [])
    decisions = [str(verdict.get("decision")) for verdict in verdicts]
    gated = any(verdict.get("comparisons") for verdict in verdicts)
    if decisions and set(decisions) == {"failed"}:
        warn("every round failed; the run folder's failure-*.txt files say why", style="red")
        return EXIT_INTERNAL
    if not gated or "promoted" in decisions:
        return EXIT_OK
    warn("the gate let no round through; the champion is the model before it")
    return EXIT_GATE


def check(recipe: RecipeName, set_: Set = None, runs: Runs = DEFAULT_RUNS) -> None:
    """Validate a recipe, its data and its models without training anything."""
    from burnish.loop.check import check as check_recipe

    loaded = load_recipe(recipe, set_ or [])
    problems = check_recipe(loaded, runs)
    if problems:
        raise InputError(problems)
    stages = len(loaded.stages())
    say(f"{loaded.file}: {stages} stages, nothing wrong")


def plan(
    recipe: RecipeName,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    devices: Annotated[
        str | None,
        typer.Option("--devices", metavar="NxNAME", help="Estimate memory and time on these."),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Show what a run would do: stages in order, what each is made from and what it makes.

    With --devices (8xH100, or cpu for this machine) also what each stage needs there; exit code 2
    where one does not fit.
    """
    from burnish.cli.plans import plan_rows, plan_table, plan_totals
    from burnish.loop.plan import plan as plan_recipe

    loaded = load_recipe(recipe, set_ or [])
    if devices is not None:
        _estimate(loaded, devices, json_)
        return
    plans = plan_recipe(loaded)
    if json_:
        print_json({"recipe": loaded.header.name, "run": loaded.name, "stages": plan_rows(plans)})
        return
    out.print(plan_table(plans, f"{loaded.header.name} → {runs / loaded.name}"))
    say(plan_totals(plans), style="dim")


def _estimate(loaded: Recipe, devices: str, json_: bool) -> None:
    """Show what the stages need; raises InputError where one does not fit."""
    from burnish.cli.plans import basis, estimate_rows, estimate_table
    from burnish.engine.devices import find
    from burnish.loop.estimate import estimate

    device, count = find(devices)
    found = estimate(loaded, device, count)
    if json_:
        print_json({"recipe": loaded.header.name, "run": loaded.name, **estimate_rows(found)})
    else:
        out.print(estimate_table(found, f"{loaded.header.name} on {count} x {device.name}"))
        say(basis(found), style="dim")
    if found.tight:
        problem = f"does not fit on {devices}: {', '.join(found.tight)}"
        raise InputError(Problem(str(loaded.file), None, "", problem))


def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("recipe.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a commented starter recipe that runs as it is."""
    from burnish.store.atomic import write_text

    if path.is_dir():
        path = path / "recipe.yaml"
    if path.exists() and not force:
        raise InputError(Problem(str(path), None, "", "exists already", "--force overwrites it"))
    starter = resources.files("burnish.cli").joinpath("starter.yaml")
    write_text(path, starter.read_text(encoding="utf-8"))
    say(f"wrote {path}")
    say(f"next: burnish check {path}, then burnish run {path}")


def status(
    run: Annotated[str | None, typer.Argument(help="A run's name or folder.")] = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """List the runs, or show the stages of one."""
    from burnish.cli.tables import stage_table
    from burnish.loop.status import run_folders, run_state

    if run is not None:
        state = run_state(run_folder(run, runs))
        if json_:
            print_json(state)
        else:
            out.print(stage_table(state["stages"], f"{state['run']}: {state['status']}"))
        return
    states = [run_state(folder) for folder in run_folders(runs)]
    if json_:
        print_json({"runs": states})
    elif not states:
        say(f"no runs in {runs}; start one with: burnish run quickstart")
    for state in states if not json_ else []:
        made = sum(stage["state"] in ("done", "reused") for stage in state["stages"])
        say(f"{state['run']:<24} {state['status']:<12} {made} stages done")
