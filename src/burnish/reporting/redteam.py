"""The red team in the report: success by attack and category, over-refusal beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from burnish.reporting.markup import Markup, el, join
from burnish.reporting.names import show
from burnish.reporting.rundata import Row, RunData
from burnish.reporting.strings import Lang, text

STAGE, ALL = "measure.redteam", "all"
Figure = Mapping[str, Any] | None


def section(run: RunData, lang: Lang) -> Markup:
    """Every red team of a run, in the order they were made."""
    records = [one for one in run.details.values() if one.get("stage") == STAGE]
    found = [
        _one(str(record.get("name", STAGE)), record["details"], lang)
        for record in sorted(records, key=lambda one: int(one.get("sequence") or 0))
        if record.get("details", {}).get("attacked")
    ]
    if not found:
        return Markup("")
    return el("section", el("h2", text(lang, "redteam")), found, id="redteam")


def _one(name: str, found: Row, lang: Lang) -> Markup:
    now = found["attacked"]
    decided = "redteam_judge" if found["classifier"] == "judge" else "redteam_phrases"
    missing = text(lang, "redteam_missing", count=now["missing"]) if now["missing"] else None
    total = text(
        lang, "redteam_total", broken=show(now["broken"]["value"], "share"), n=now["broken"]["n"]
    )
    return join(
        el("h3", el("code", name)),
        el("p", text(lang, "redteam_note", classifier=text(lang, decided)), class_="note"),
        el("div", _strategies(found, lang), class_="scroll"),
        el("p", total, " ", missing),
        el(
            "details",
            el("summary", text(lang, "redteam_cells")),
            el("p", text(lang, "redteam_cells_note"), class_="note"),
            el("div", _cells(now, lang), class_="scroll"),
        ),
    )


@dataclass(frozen=True)
class Line:
    """A strategy, or ``all``: its rates by model, the paired change and its p, and the harmless
    prompts refused; a dash where there is none."""

    name: str
    rates: list[Figure]
    change: tuple[str, str] | None
    benign: str
    held_out: bool


def lines(found: Row) -> list[Line]:
    """What both tables show of ``redteam.json``: before and after, or one model alone."""
    now = found["attacked"]
    sides = [found["before"]["attacked"], now] if found.get("before") else [now]
    return [
        Line(
            name,
            [side["success"] if name == ALL else side["strategies"].get(name) for side in sides],
            _changed(found["changes"].get(name)) if len(sides) > 1 else None,
            interval(now["benign_refused"] if name == ALL else now["benign"].get(name)),
            name in found["held_out"],
        )
        for name in (*now["strategies"], ALL)
    ]


def _changed(change: Row | None) -> tuple[str, str]:
    """Percentage points with their interval, and the p-value."""
    if change is None:
        return "–", "–"
    p = change["adjusted_p"]
    low, value, high = (f"{100 * change[key]:+.0f}" for key in ("low", "difference", "high"))
    return f"{value} [{low}, {high}]", "< 0.001" if p < 0.001 else f"{p:.3f}"


def interval(figure: Figure) -> str:
    """A share with its interval; a dash where there is none."""
    if figure is None or figure["value"] is None:
        return "–"
    value, low, high = (show(figure[key], "share") for key in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _strategies(found: Row, lang: Lang) -> Markup:
    """A row a strategy and one of all; with what was before and the paired change."""
    heads = [text(lang, "redteam_col_after", model=found["model"])]
    if found.get("before"):
        heads.insert(0, text(lang, "redteam_col_before", model=found["before"]["model"]))
        heads += [text(lang, "redteam_col_change"), text(lang, "redteam_col_p")]
    heads.append(text(lang, "redteam_col_benign"))
    head = el(
        "tr",
        el("th", text(lang, "redteam_col_strategy")),
        [el("th", name, class_="num") for name in heads],
    )
    return el("table", head, [_row(line, lang) for line in lines(found)])


def _row(line: Line, lang: Lang) -> Markup:
    name = text(lang, "redteam_all" if line.name == ALL else f"strategy_{line.name}")
    mark = f" ({text(lang, 'redteam_held_out')})" if line.held_out else ""
    others = [el("td", cell, class_="num") for cell in (*(line.change or ()), line.benign)]
    label = el("td", name, el("small", mark, class_="flat"))
    return el("tr", label, [_heat(rate) for rate in line.rates], others)


def _heat(figure: Figure, counted: bool = False) -> Markup:
    """A cell whose ground says how much got through."""
    if figure is None or figure["value"] is None:
        return el("td", "–", class_="num")
    share = round(70 * float(figure["value"]))
    ground = f"background:color-mix(in srgb, var(--bad) {share}%, transparent)"
    if not counted:
        return el("td", interval(figure), class_="num", style=ground)
    count = el("small", f" /{figure['n']}")
    return el("td", el("b", show(figure["value"], "share")), count, class_="num", style=ground)


def _cells(now: Row, lang: Lang) -> Markup:
    names = list(now["categories"])
    head = el(
        "tr",
        el("th", text(lang, "redteam_col_strategy")),
        [el("th", name, class_="num") for name in names],
    )
    rows = [
        el(
            "tr",
            el("td", text(lang, f"strategy_{strategy}")),
            [_heat(row.get(name), counted=True) for name in names],
        )
        for strategy, row in now["cells"].items()
    ]
    return el("table", head, rows)
