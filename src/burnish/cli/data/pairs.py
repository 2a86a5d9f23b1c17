"""``data pairs``: preference pairs from scored candidates."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.data.files import Files, Out
from burnish.cli.shared import (
    AsJson,
    Set,
    example,
    print_json,
    refuse_existing,
    say,
    settings_from,
)


class Choose(StrEnum):
    """How the two replies of a pair are chosen."""

    best_worst = "best_worst"
    best_random = "best_random"
    window = "window"
    hard = "hard"


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        epilog=example(
            "burnish data pairs rollouts.jsonl -o pairs.jsonl",
            "burnish data pairs rollouts.jsonl -o pairs.jsonl --prompts prompts.jsonl "
            "--choose hard --set max_length_ratio=1.5",
        )
    )(pairs)


def pairs(
    files: Files,
    out_: Out,
    prompts: Annotated[
        list[Path] | None,
        typer.Option("--prompts", help="Prompts with their verifiers; rewards alone without."),
    ] = None,
    choose: Annotated[Choose, typer.Option(help="How they are chosen.")] = Choose.best_worst,
    seed: Annotated[int, typer.Option(help="Of draws.")] = 0,
    set_: Set = None,
    json_: AsJson = False,
) -> None:
    """Pair candidates (rollouts) of the same prompt and say whether longer ones win.

    --set takes the settings of PairSettings in the recipe reference, such as min_margin=0.1.
    """
    from burnish.evals.statistics import wilson
    from burnish.records import Prompt, Rollout
    from burnish.selection.pairs import PairSettings, make_pairs
    from burnish.store import tables

    refuse_existing(out_)
    settings = settings_from(PairSettings, {"choose": str(choose), "seed": seed}, set_)
    rollouts = [one for file in files for one in tables.read(file, Rollout)]
    asked = {
        one.prompt_id: Prompt(
            id=one.prompt_id, messages=one.prompt, lang=one.lang, task=one.task,
            topic=one.topic, group=one.group,
        )
        for one in rollouts
    }  # fmt: skip
    asked |= {one.id: one for file in prompts or [] for one in tables.read(file, Prompt)}
    made, report = make_pairs(asked, rollouts, settings)
    tables.write(out_, made)
    longer = wilson(round(report.chosen_longer * report.unequal), report.unequal)
    if json_:
        print_json({"out": str(out_), **asdict(report), "chosen_longer": asdict(longer)})
        return
    facts = {
        "prompts": f"{report.prompts}, with a pair {report.prompts_with_pair}",
        "pairs": str(report.pairs),
        "left out": f"{report.dropped_equal} equal, {report.dropped_length} unlike in length",
        "margin": f"{report.mean_margin:.3g} on average",
        "length": f"chosen {report.chosen_length:.0f}, rejected {report.rejected_length:.0f} chars",
        "chosen is longer": f"{longer.value:.1%} [{longer.low:.1%}, {longer.high:.1%}] of "
        f"{report.unequal} pairs of unequal length",
        "correlation": f"{report.length_correlation:+.2f} of margin and length",
    }
    for name, text in facts.items():
        say(f"{name:<18} {text}")
    say(f"wrote {out_}")
