"""What ``fit reward`` says of the reward model: a row for each set of pairs, and what to mind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table

from burnish.cli.shared import out, say

REPORT = ("sets", "temperature", "best_of_n", "refresh", "members")


def report_of(details: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an artifact's details that is shown."""
    return {name: details[name] for name in REPORT if name in details}


def show_reward(details: Mapping[str, Any]) -> None:
    """Print the report of a reward model's artifact."""
    if refresh := details.get("refresh"):
        say(_refreshed(refresh))
    sets = details.get("sets", {})
    if not sets:
        return
    rows = {name: _row(report) for name, report in sets.items()}
    _print(("n", "accuracy", "ECE", "ECE, T", "length", "longer / shorter"), rows)
    if details.get("members", 1) > 1:
        rows = {name: _members(report) for name, report in sets.items()}
        _print(("members", "all agree", "right if so", "right if not"), rows)
    temperature = details.get("temperature")
    if temperature is not None:
        say(f"ECE, T: with scores divided by {temperature:.2f}, fitted to half of the held-out "
            "groups; theirs is of the other half", style="dim")  # fmt: skip
    say("length: rank correlation of score and length within pairs; then accuracy where the "
        "chosen reply is the longer one and where the shorter", style="dim")  # fmt: skip
    if best := details.get("best_of_n"):
        picked, average, most = (best[key]["value"] for key in ("picked", "average", "best"))
        say(f"best of {best['n']} of the policy's replies, by verifier: picks {picked:+.3f}, "
            f"average {average:+.3f}, best there is {most:+.3f}")  # fmt: skip


def _print(columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("pairs", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    for name, cells in rows.items():
        table.add_row(name.replace("_", " "), *cells)
    out.print(table)


def _refreshed(refresh: Mapping[str, Any]) -> str:
    figure, bound = refresh["accuracy"], refresh["bound"]
    if figure is None:
        return f"kept {refresh['model']}: no fresh pairs to measure it on"
    did = "kept" if refresh["kept"] else "retrained, not kept:"
    return f"{did} {refresh['model']}, accuracy {_figure(figure)} on {figure['n']} fresh pairs, " \
           f"bound {bound:g}"  # fmt: skip


def _row(report: Mapping[str, Any]) -> list[str]:
    calibration, length = report["calibration"], report["length"]
    after = calibration.get("after")
    sides = length["accuracy"]
    return [
        str(report["accuracy"]["n"]),
        _figure(report["accuracy"]),
        f"{calibration['before']['error']:.3f}",
        f"{after['error']:.3f}" if after else "–",
        f"{length['gaps']['value']:+.2f}" if "gaps" in length else "–",
        " / ".join(_share(sides.get(side)) for side in ("longer", "shorter")),
    ]


def _members(report: Mapping[str, Any]) -> list[str]:
    values = [figure["value"] for figure in report["members"]]
    agreement = report["agreement"]
    return [
        f"{100 * min(values):.1f} – {100 * max(values):.1f} %",
        _share(agreement.get("all_agree")),
        *(_share(agreement.get(name)) for name in ("agree", "disagree")),
    ]


def _figure(figure: Mapping[str, float]) -> str:
    value, low, high = (100 * figure[key] for key in ("value", "low", "high"))
    return f"{value:.1f} % [{low:.0f}, {high:.0f}]"


def _share(figure: Mapping[str, float] | None) -> str:
    return "–" if figure is None else f"{100 * figure['value']:.0f} %"
