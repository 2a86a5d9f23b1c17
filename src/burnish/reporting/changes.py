"""Before and after as a table: improved, regressed or noise, figure by figure."""

from __future__ import annotations

from burnish.reporting.findings import tone_of
from burnish.reporting.markup import Markup, el
from burnish.reporting.names import Unit, figure_name, place_of, show
from burnish.reporting.rundata import Change, Point, RunData
from burnish.reporting.strings import Lang, text, word

STATES = {"good": "improved", "bad": "regressed", "flat": "noise"}


def table(run: RunData, lang: Lang) -> Markup | None:
    """A row a figure, by dimension; None where nothing was measured twice."""
    dimensions = run.dimensions
    rows = [
        _row(change, dimensions.get(change.name, ""), lang)
        for change in sorted(run.changes, key=lambda c: place_of(dimensions.get(c.name, "")))
    ]
    if not rows:
        return None
    columns = ("metric", "dimension", "was", "now", "change", "ok")
    numeric = ("was", "now", "change")
    head = el("tr", [el("th", text(lang, f"col_{c}"), class_="num" if c in numeric else None)
                     for c in columns])  # fmt: skip
    return el("div", el("table", head, rows), class_="scroll")


def _row(change: Change, dimension: str, lang: Lang) -> Markup:
    naming, tone = figure_name(change.name), tone_of(change)
    return el(
        "tr",
        el("td", naming.label(lang)),
        el("td", word(lang, f"dimension_{dimension}", dimension)),
        el("td", _with_interval(change.before, naming.unit), class_="num"),
        el("td", _with_interval(change.after, naming.unit), class_="num"),
        el("td", difference(change, lang), class_="num"),
        el("td", text(lang, f"state_{STATES[tone]}"), class_=tone),
    )


def _with_interval(point: Point, unit: Unit) -> str:
    low, value, high = (show(v, unit) for v in (point.low, point.value, point.high))
    return f"{value} [{low}, {high}]"


def difference(change: Change, lang: Lang) -> str:
    """By how much a figure rose or fell; that of a share in points."""
    by, unit = change.after.value - change.before.value, figure_name(change.name).unit
    arrow = "▲" if by > 0 else "▼" if by < 0 else "="
    if unit == "share":
        return text(lang, "points", arrow=arrow, value=f"{abs(by) * 100:.1f}")
    return f"{arrow} {show(abs(by), unit)}"
