"""``data dedup``: near duplicates out of any amount of data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.data.files import RecordKind, Workers, guess
from burnish.cli.shared import AsJson, err, example, print_json, say

EXAMPLE = example("burnish data dedup examples.jsonl -o deduplicated --workers 2")


def dedup(
    data: Annotated[Path, typer.Argument(metavar="IN", help="A file or folder of records.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the records kept.")],
    near: Annotated[
        float, typer.Option("--near", help="Jaccard similarity of duplicates, up to 1.")
    ] = 0.7,
    workers: Workers = "1",
    kind: Annotated[
        RecordKind | None, typer.Option("--kind", help="What it holds; found out if not given.")
    ] = None,
    part: Annotated[int, typer.Option("--part", help="Records in a part.")] = 10_000,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Replace other work in the folder.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Keep one record of each group whose texts share most of their words, in order.

    The result does not depend on the order of the records or on the workers. Interrupted, the
    same command goes on where it stopped.
    """
    from burnish import flow
    from burnish.config import InputError, Problem
    from burnish.config.progress import RichProgress, SilentProgress
    from burnish.records import KINDS
    from burnish.selection.dedup import DedupSettings
    from burnish.selection.dedup_parts import dedup as run

    if not 0 < near <= 1:
        raise InputError(Problem("", None, "near", f"found {near}", "above 0 and at most 1"))
    executor = flow.Executor.parse(workers)
    cls = KINDS[kind or guess(data)]
    source = flow.source_of(data, cls, flow.work_folder(out) / "source", part, rerun=True)
    report = run(
        source,
        out,
        cls,
        DedupSettings(threshold=near),
        executor,
        SilentProgress() if json_ else RichProgress(err),
        rerun,
    )
    removed = report.removed.get("dedup", 0)
    if json_:
        print_json({"kept": report.kept, "removed": removed, "folder": str(out)})
        return
    say(f"{out}: {report.kept} records kept, {removed} near duplicates removed")


def register(app: typer.Typer) -> None:
    """Add this file's command."""
    app.command(epilog=EXAMPLE)(dedup)
