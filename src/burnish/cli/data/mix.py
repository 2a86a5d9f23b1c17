"""``data mix``: draw a training set by quality tier, synthetic share and task."""

from __future__ import annotations

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from burnish.cli.data.files import Files, Out, Workers
from burnish.cli.shared import (
    AsJson,
    Set,
    example,
    out,
    print_json,
    progress,
    refuse_existing,
    say,
    settings_from,
)


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        epilog=example(
            "burnish data mix expert.jsonl bulk.jsonl -o train.jsonl --count 2000",
            "burnish data mix examples.jsonl -o train.jsonl --set 'tiers={}' --set synthetic=null "
            "--set temperature=2 --set repeats=4",
        )
    )(mix)


def mix(
    files: Files,
    out_: Out,
    count: Annotated[int | None, typer.Option(help="The size; as large as can be without.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    workers: Workers = "1",
    set_: Set = None,
    json_: AsJson = False,
) -> None:
    """Mix examples 5 / 25 / 70 (expert, selected, bulk) with 70 to 80 % synthetic.

    Where a tier has too few records nothing is written, and the message says how many are missing.
    Interrupted, the same command goes on where it stopped. --set takes the settings of MixSettings
    in the recipe reference, such as
    'tiers={expert: 0.1, bulk: 0.9}'.
    """
    from burnish import flow
    from burnish.selection.mix import MixSettings
    from burnish.selection.mix_parts import mix as run
    from burnish.selection.pyramid import CURRICULUM

    refuse_existing(out_)
    settings = settings_from(MixSettings, {"count": count}, set_)
    means = flow.Means(flow.Executor.parse(workers), progress=progress(json_))
    mixed = run(files, out_, flow.work_folder(out_), settings, seed, means)
    if json_:
        print_json({"out": str(out_), **mixed.report()})
        return
    before, after = mixed.tiers()
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for column in ("there", "drawn", "share", "wanted"):
        table.add_column(column, justify="right")
    for tier in CURRICULUM:
        wanted = settings.tiers.get(tier)
        row = (before.counts.get(tier, 0), after.counts.get(tier, 0))
        share = after.shares.get(tier, 0.0)
        shown = "" if wanted is None else f"{wanted / sum(settings.tiers.values()):.1%}"
        table.add_row(tier, *map(str, row), f"{share:.1%}", shown)
    synthetic = [mixed.before.synthetic, mixed.after.synthetic]
    bounds = "" if settings.synthetic is None else "{:.0%} to {:.0%}".format(*settings.synthetic)
    table.add_row("synthetic", *map(str, synthetic), f"{after.synthetic:.1%}", bounds)
    for task, there in sorted(mixed.before.tasks.items()):
        drawn = mixed.after.tasks.get(task, 0)
        share = drawn / max(1, mixed.after.examples)
        table.add_row(f"task {task}", str(there), str(drawn), f"{share:.1%}", "")
    out.print(table)
    say(f"wrote {out_}")
