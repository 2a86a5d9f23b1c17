"""``experts``: a mixture of experts made of dense models."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.merge_commands import Adapters, Base, Models, Out
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


class Gate(StrEnum):
    """What a router is at the start."""

    hidden = "hidden"
    random = "random"
    zero = "zero"


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    app.command(
        epilog=example(
            "burnish experts models/law models/code --base models/origin --prompts law.jsonl "
            "--prompts code.jsonl --out models/both",
            "burnish fit router --model models/both --data mixed.jsonl --out models/routed",
        )
    )(experts)


def experts(
    out_: Out,
    models: Models = None,
    base: Base = None,
    adapter: Adapters = None,
    top_k: Annotated[
        int, typer.Option("--top-k", min=1, help="Experts that each token goes through.")
    ] = 2,
    prompts: Annotated[
        list[Path] | None,
        typer.Option("--prompts", help="Documents an expert is meant for, in turn (repeatable)."),
    ] = None,
    gate: Annotated[
        Gate | None,
        typer.Option("--gate", help="The router at first: hidden with --prompts, else random."),
    ] = None,
    set_: Set = None,
    runs: Runs = DEFAULT_RUNS,
    json_: AsJson = False,
) -> None:
    """Put dense models together as a mixture of experts, a few megabytes at a time.

    Their feed-forward layers become the experts, all else there is once. Train the router next,
    with burnish fit router. --set takes the other settings, such as shared=base; the recipe
    reference lists them under ExpertSettings.
    """
    from burnish.cli.one_stage import make

    refuse_existing(out_)
    if not models and not adapter:
        raise InputError(Problem("", None, "A B ...", "no experts", "models or --adapter"))
    if base is None and not models:
        raise InputError(Problem("", None, "--base", "missing for adapters", "what they change"))
    refs = [resolve_model(name, runs) for name in models or []]
    settings: dict[str, Any] = {
        "run": "fit.experts", "model": "@base", "parents": refs,
        "adapters": [str(path.resolve()) for path in adapter or []],
        "prompts": [str(path.resolve()) for path in prompts or []],
        "experts": {"top_k": top_k, "gate": str(gate or ("hidden" if prompts else "random"))},
    }  # fmt: skip
    details = make(
        "experts",
        settings,
        out_,
        model=refs[0] if base is None else resolve_model(base, runs),
        set_=set_,
        progress=progress(json_),
    )
    if json_:
        print_json({"out": str(out_), **details})
        return
    count, kind = details["experts"], details["architecture"]
    say(f"wrote {out_} ({kind}, {count} experts, {top_k} a token)")
