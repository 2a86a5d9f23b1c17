"""Tables for the terminal: before → after with intervals, verdicts, stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from burnish.reporting import refusals
from burnish.reporting.findings import promoted, reason, tone_of
from burnish.reporting.names import Unit, duration, figure_name, show, size
from burnish.reporting.optimisation import alarms_of
from burnish.reporting.rundata import Change, Point, RunData, read_run

COLOURS = {"good": "green", "bad": "red", "flat": "dim"}


def print_results(folder: Path, console: Console) -> None:
    """What ``burnish run`` closes with: figures, verdicts, where to look."""
    run = read_run(folder)
    summary = run.summary
    console.print()
    console.print(results_table(run))
    if measured := list(refusals.found_in(run)):
        console.print(refusals_table(measured))
    for verdict in summary.get("verdicts", []):
        good = promoted(verdict)
        decision = "promoted" if good else "champion kept"
        line = Text(f"round {verdict.get('round', '?')}: ")
        line.append(decision, style="bold green" if good else "bold yellow")
        console.print(line.append(f"  {reason(verdict, 'en')}"))
    console.print()
    for label, record in run.details.items():
        for alarm in alarms_of(record, "en"):
            console.print(Text(f"{label}: {alarm}", style="yellow"))
    facts = []
    if "wall_seconds" in summary:
        facts.append(duration(summary["wall_seconds"]))
    if "peak_rss_bytes" in summary:
        facts.append(f"peak memory {size(summary['peak_rss_bytes'])}")
    console.print(Text(" · ".join(facts), style="dim"))
    # Paths are never broken at the terminal's width: they are there to be copied.
    report = Text("report   ").append(str(folder / "report.html"), style="bold")
    console.print(report, soft_wrap=True)
    console.print(Text(f"figures  {folder / 'summary.json'}"), soft_wrap=True)


def results_table(run: RunData) -> Table:
    """Before → after of every figure that has both, then the others."""
    table = Table(box=box.SIMPLE_HEAD, title=f"{run.summary.get('run', '')}", title_justify="left")
    table.add_column("figure")
    for column in ("before", "after", "change"):
        table.add_column(column, justify="right", no_wrap=True)
    changes = {change.name: change for change in run.changes}
    for name, change in changes.items():
        unit = figure_name(name).unit
        before, after = interval(change.before, unit), interval(change.after, unit)
        table.add_row(figure_name(name).label("en"), before, after, _delta(change))
    for name, point in run.figures.items():
        stem = name.removesuffix("_before").removesuffix("_after")
        if name not in changes and stem not in changes:
            naming = figure_name(name)
            table.add_row(naming.label("en"), "", interval(point, naming.unit), "")
    return table


def refusals_table(measured: Sequence[refusals.Refused]) -> Table:
    """Harmful prompts refused beside harmless ones refused, a row a measurement."""
    table = Table(box=box.SIMPLE_HEAD, title="refused", title_justify="left")
    for column in ("", "harmful prompts (more is better)", "harmless prompts (less is better)"):
        table.add_column(column)
    for one in measured:
        table.add_row(
            one.name, *(refusals.shown(side, "en") for side in (one.harmful, one.harmless))
        )
    return table


def interval(point: Point, unit: Unit) -> Text:
    """``58 % [52 %, 64 %]``, the interval dimmed."""
    text = Text(show(point.value, unit))
    if point.low != point.high:
        text.append(f" [{show(point.low, unit)}, {show(point.high, unit)}]", style="dim")
    return text


def _delta(change: Change) -> Text:
    difference = change.after.value - change.before.value
    unit = figure_name(change.name).unit
    amount = f"{abs(difference) * 100:.1f}" if unit == "share" else show(abs(difference))
    mark = "▲" if difference > 0 else "▼" if difference < 0 else "="
    return Text(f"{mark} {amount}", style=COLOURS[tone_of(change)])


def stage_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Stages with round, state, time and their first figures."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for column in ("stage", "round", "state", "time", "figures"):
        table.add_column(column, justify="right" if column in ("round", "time") else "left")
    for row in rows:
        seconds = row.get("seconds")
        table.add_row(
            str(row.get("name", "")),
            str(row.get("round", "")),
            str(row.get("state", "")),
            "" if seconds is None else duration(float(seconds)),
            figure_text(row.get("figures", {})),
        )
    return table


def figure_text(figures: dict[str, Any], most: int = 3) -> str:
    """The first figures of a stage as ``loss 0.61 · accuracy 0.9``."""
    said = []
    for name, value in figures.items():
        number = value.get("value") if isinstance(value, dict) else value
        bound = name.endswith(("_low", "_high")) and name.rpartition("_")[0] in figures
        if isinstance(number, int | float) and not bound:
            said.append(f"{name} {show(float(number))}")
    return " · ".join(said[:most])
