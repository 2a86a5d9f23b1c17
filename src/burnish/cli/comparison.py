"""The tables of ``compare`` for a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table

from burnish.cli.shared import out, say

MARKS = {"improved": "▲ improved", "regressed": "▼ regressed", "noise": "noise"}


def print_comparison(found: dict[str, Any]) -> None:
    """Tables for a person, from ``comparison.json``."""
    first, *others = found["models"]
    for model in others:
        table = Table(box=box.SIMPLE_HEAD, title=f"{model} against {first}", title_justify="left")
        table.add_column("figure")
        for column in (f"{first} → {model}", "better by", "p (Holm)", "effect", "MDE", ""):
            table.add_column(column, justify="right")
        for row in found["rows"]:
            if row["model"] == model:
                table.add_row(*_compared(row, found))
        out.print(table)
    if found["win_rates"]:
        _print_duels(found)
    if found["decider"] == "judge":
        _say_of_judge(found["judge"])
    _print_unpaired(found)
    say(
        "paired on items; “better by” is turned so that more is better; MDE is the minimum "
        "detectable effect: the true difference that these items find with a power of 80 %",
        style="dim",
    )


def _say_of_judge(judge: dict[str, Any]) -> None:
    if not judge["used"]:
        say("the judge may not be used: " + "; ".join(judge["reasons"]), style="yellow")
    elif "agreement" not in judge:
        say("no labels say whether the judge agrees with people", style="yellow")


def _compared(row: dict[str, Any], found: dict[str, Any]) -> list[str]:
    change, detectable = row["comparison"], row["detectable"]
    sides = (found["models"][0], row["model"])
    measured = [found["figures"][name].get(row["metric"]) for name in sides]
    moved = "–"
    if change["n"] > 1:
        moved = f"{change['difference']:+.3g} [{change['low']:+.3g}, {change['high']:+.3g}]"
    return [
        row["metric"],
        " → ".join(f"{figure['value']:.3g}" for figure in measured if figure),
        moved,
        f"{row['adjusted_p']:.3g}",
        "" if change["effect_size"] is None else f"{change['effect_size']:+.2f}",
        "" if detectable is None else f"{detectable:.3g}",
        MARKS[row["state"]],
    ]


def _print_duels(found: dict[str, Any]) -> None:
    table = Table(box=box.SIMPLE_HEAD, title=f"head to head, by the {found['decider']}",
                  title_justify="left")  # fmt: skip
    for column in ("model", "win rate", "at equal length", "won / tied / lost", "rating"):
        table.add_column(column, justify="right" if column != "model" else "left")
    ratings = found["ratings"] or {"ratings": {}, "leagues": []}
    for model in found["models"]:
        rate, rating = found["win_rates"].get(model), ratings["ratings"].get(model)
        cells = ["", "", ""]
        if rate:
            tally = f"{rate['wins']} / {rate['ties']} / {rate['losses']}"
            cells = [shown(rate["raw"]), shown(rate["controlled"]), tally]
        known = rating is not None and rating["value"] is not None
        table.add_row(model, *cells, shown(rating, ".0f") if known else "")
    out.print(table)
    if len(ratings["leagues"]) > 1:
        groups = "; ".join(", ".join(league) for league in ratings["leagues"])
        say(f"no wins both ways connect these groups, whose ratings do not compare: {groups}")


def _print_unpaired(found: dict[str, Any]) -> None:
    """Figures that have no items to pair, such as perplexity and speed."""
    paired = {row["metric"] for row in found["rows"]}
    names = {name for figures in found["figures"].values() for name in figures} - paired
    if not names:
        return
    table = Table(box=box.SIMPLE_HEAD, title="as measured", title_justify="left")
    for column in ("figure", *found["models"]):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for name in sorted(names):
        measured = [found["figures"][model].get(name) for model in found["models"]]
        table.add_row(name, *(shown(one) if one else "" for one in measured))
    out.print(table)


def shown(figure: Mapping[str, float | None], form: str = ".3g") -> str:
    value, low, high = (
        "–" if figure[key] is None else format(figure[key], form)
        for key in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"
