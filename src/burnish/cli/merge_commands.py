"""``merge``: one model of several."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from burnish.cli.models_of import resolve_model
from burnish.cli.shared import (
    DEFAULT_RUNS,
    AsJson,
    Runs,
    Set,
    example,
    print_json,
    progress,
    refuse_existing,
    say,
)
from burnish.config import InputError, Problem


class Kind(StrEnum):
    """The ways to find weights."""

    greedy = "greedy"
    grid = "grid"
    cma = "cma"


Out = Annotated[Path, typer.Option("--out", help="The folder the model is written to.")]
Models = Annotated[
    list[str] | None, typer.Argument(metavar="[A B ...]", help="Models of one architecture.")
]
Base = Annotated[
    str | None, typer.Option("--base", help="What they were trained from; the first by default.")
]
Adapters = Annotated[
    list[Path] | None, typer.Option("--adapter", help="A LoRA folder over --base (repeatable).")
]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog=example(
            "burnish merge models/a models/b --out models/soup",
            "burnish merge models/a models/b --base burnish-tiny --method ties --out models/both "
            "--set density=0.2",
            "burnish merge models/a models/b --search greedy --tasks dev.jsonl --out models/best",
            "burnish merge --base models/a --adapter loras/x --out models/x",
        )
    )(merge)


def merge(
    out_: Out,
    models: Models = None,
    base: Base = None,
    adapter: Adapters = None,
    method: Annotated[
        str, typer.Option("--method", help="linear, slerp, ties, dare_ties, della and others.")
    ] = "linear",
    weight: Annotated[
        list[float] | None,
        typer.Option("--weight", help="Of each model in turn (repeatable); equal by default."),
    ] = None,
    search: Annotated[
        Kind | None, typer.Option("--search", help="Find weights by evaluation of --tasks.")
    ] = None,
    tasks: Annotated[
        list[Path] | None,
        typer.Option("--tasks", help="An evaluation file for the search (repeatable)."),
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", min=1, help="Merges that the search may evaluate.")
    ] = None,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Merge models, or LoRA adapters into their base, a few megabytes at a time.

    --set takes the other settings of a merge, such as density=0.2 or
    layers={"model.layers.0.*": [1, 0]}; the recipe reference lists them under MergeSettings.
    """
    from burnish.cli.one_stage import make

    refuse_existing(out_)
    _possible(models or [], adapter or [], base, method)
    refs = [resolve_model(name, runs) for name in models or []]
    settings: dict[str, Any] = {
        "run": "fit.merge", "model": "@base", "parents": refs,
        "adapters": [str(path.resolve()) for path in adapter or []],
        "merge": {"method": method, "weights": weight or []},
        **_search(search, tasks or [], budget),
    }  # fmt: skip
    details = make(
        "merge",
        settings,
        out_,
        model=refs[0] if base is None else resolve_model(base, runs),
        set_=set_,
        progress=progress(json_),
    )
    if json_:
        print_json({"out": str(out_), **details})
        return
    for trial in details["trials"]:
        shown = " ".join(f"{one:g}" for one in trial["weights"])
        say(f"{trial['score']:.4f}  {shown}", style="dim")
    shown = " ".join(f"{one:g}" for one in details["weights"])
    say(f"wrote {out_} ({details['method']}, weights {shown})")


def _possible(models: list[str], adapters: list[Path], base: str | None, method: str) -> None:
    from burnish.merging.settings import Method

    if method not in get_args(Method):
        expected = f"one of {', '.join(get_args(Method))}"
        raise InputError(Problem("", None, "--method", f"found {method!r}", expected))
    if not models and not adapters:
        raise InputError(Problem("", None, "A B ...", "nothing to merge", "models or --adapter"))
    if base is None and (adapters or method not in ("linear", "slerp")):
        why = "an adapter" if adapters else method
        raise InputError(Problem("", None, "--base", f"missing for {why}", "what it changes"))


def _search(kind: Kind | None, tasks: list[Path], budget: int | None) -> dict[str, Any]:
    from burnish.cli.eval_commands import own_tasks

    if kind is None:
        if tasks or budget is not None:
            raise InputError(Problem("", None, "--tasks", "given without --search", "both"))
        return {}
    if not tasks:
        raise InputError(Problem("", None, "--search", "given without --tasks", "both"))
    given = {"kind": str(kind)} | ({} if budget is None else {"budget": budget})
    return {"search": given, "tasks": own_tasks(tasks)}
