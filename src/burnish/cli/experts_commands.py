"""``experts``: a mixture of experts made of dense models."""

from __future__ import annotations

import shutil
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.merge_commands import details_of
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
    out_: Annotated[Path, typer.Option("--out", help="The folder the model is written to.")],
    models: Annotated[
        list[str] | None, typer.Argument(metavar="[A B ...]", help="Models of one architecture.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option("--base", help="What they were trained from; the first by default."),
    ] = None,
    adapter: Annotated[
        list[Path] | None,
        typer.Option("--adapter", help="A LoRA folder over --base (repeatable)."),
    ] = None,
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
    from burnish.cli.one_stage import run_stages
    from burnish.store.atomic import new_folder

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
    work = out_.with_name(f".{out_.name}.work")
    made = run_stages(
        {"experts": settings},
        model=refs[0] if base is None else resolve_model(base, runs),
        work=work,
        overrides=[f"prepare.experts.experts.{item}" for item in set_ or []],
        progress=progress(json_),
    )
    with new_folder(out_) as folder:
        shutil.copytree(made.folders["experts"], folder, dirs_exist_ok=True)
    details = details_of(out_)
    shutil.rmtree(work)
    if json_:
        print_json({"out": str(out_), **details})
        return
    count, kind = details["experts"], details["architecture"]
    say(f"wrote {out_} ({kind}, {count} experts, {top_k} a token)")
