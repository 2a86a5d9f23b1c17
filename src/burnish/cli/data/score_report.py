"""What ``data score`` tells of scores: how they are distributed, what a judge's verdicts follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from burnish.cli.data.score_options import PAIRWISE
from burnish.cli.shared import out, print_json, say


def show(found: dict[str, Any], out_: Path, written: int, json_: bool) -> None:
    """Print the distributions, and the judge's bias where one was asked."""
    if json_:
        print_json(found)
        return
    table = Table(box=box.SIMPLE_HEAD)
    columns = ("n", "missing", "mean", "p10", "p50", "p90")
    table.add_column("score")
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in found["scores"].items():
        cells = [row.get(column, "") for column in columns]
        shown = [f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells]
        table.add_row(name, *shown)
    out.print(table)
    said = {
        "length and grade": "rank correlation of length and grade",
        "first": "the reply shown first wins", "split": "the two orders disagree",
        "longer": "the longer reply wins", "padded": "a padded copy wins",
    }  # fmt: skip
    figures = found.get("bias", {}) | {
        name: found[name] for name in ("length and grade",) if name in found
    }
    for name, value in figures.items():
        if value["value"] is not None:
            interval = f"[{value['low']:.2f}, {value['high']:.2f}]"
            say(f"{said[name]}: {value['value']:.2f} {interval}, n = {value['n']}")
    if PAIRWISE in found:
        say("pairwise: " + " · ".join(f"{name} {n}" for name, n in found[PAIRWISE].items()))
    say(f"total at least {found['threshold']:g}: {found['at least']} of {found['records']} records")
    say(f"wrote {written} records to {out_}")
