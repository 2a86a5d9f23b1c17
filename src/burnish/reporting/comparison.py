"""The page of ``compare``: N models on M metrics, in English or Chinese."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.reporting.charts import Interval, interval_chart, legend
from burnish.reporting.comparisonstrings import told
from burnish.reporting.html import SPRING, document, other_language, top_bar
from burnish.reporting.markup import Markup, el, join
from burnish.reporting.names import DIMENSIONS, figure_name, place_of, show
from burnish.reporting.strings import Lang
from burnish.store.atomic import write_text

FILES: dict[Lang, str] = {"en": "comparison.html", "zh": "comparison.zh.html"}
COLUMNS = ("metric", "change", "interval", "p", "effect", "detectable", "n", "state")
NUMERIC = frozenset({"change", "p", "effect", "detectable", "n"})
STATES = {"improved": ("▲", "good"), "regressed": ("▼", "bad"), "noise": ("·", "flat")}
WIDE, HIGH = 150.0, 22.0
Row = Mapping[str, Any]


def write_pages(folder: Path, found: Row) -> None:
    """Write both languages' pages of what ``measure.compare`` found (its ``comparison.json``)."""
    for lang, name in FILES.items():
        write_text(folder / name, render(found, lang))


def render(found: Row, lang: Lang = "en") -> str:
    """The page as one HTML document that needs nothing else."""
    first = found["models"][0]
    top = top_bar(told(lang, "theme"), SPRING, other_language(told(lang, "other"), FILES, lang))
    metrics = {row["metric"] for row in found["rows"]}
    head = el(
        "header",
        el("span", told(lang, "title"), class_="badge"),
        el("h1", told(lang, "headline", count=len(found["models"]), metrics=len(metrics))),
        el("p", told(lang, "intro", first=first, alpha=found["alpha"]), class_="lead"),
    )
    parts = [_against(model, found, lang) for model in found["models"][1:]]
    footer = el("footer", told(lang, "footer"))
    main = el("main", head, parts, _duels(found, lang), _all(found, lang), footer, class_="wrap")
    title = f"{' · '.join(found['models'])} · {told(lang, 'title')} · burnish"
    return document(title, join(top, main), lang)


def _against(model: str, found: Row, lang: Lang) -> Markup:
    """One model's metrics against the first model's."""
    rows = [row for row in found["rows"] if row["model"] == model]
    kinds = Counter(row["state"] for row in rows)
    counts = told(lang, "counts", **{state: kinds[state] for state in STATES})
    ends = [abs(_at(row, end)) for row in rows for end in ("low", "high") if _at(row, end)]
    reach = max(ends, default=1.0)
    head = el("tr", [el("th", told(lang, f"col_{c}"), class_="num" if c in NUMERIC else None)
                     for c in COLUMNS])  # fmt: skip
    body = [_row(row, reach, lang) for row in sorted(rows, key=lambda row: _place(row, found))]
    return el(
        "section",
        el("h2", told(lang, "against", model=model, first=found["models"][0])),
        el("p", counts, class_="note"),
        el("div", el("table", head, body), class_="scroll"),
        el("p", told(lang, "detectable_note"), class_="note"),
    )


def _place(row: Row, found: Row) -> tuple[int, str]:
    return place_of(found["dimensions"].get(row["metric"], "")), row["metric"]


def _at(row: Row, key: str) -> float:
    return float(row["comparison"][key] or 0.0)


def _row(row: Row, reach: float, lang: Lang) -> Markup:
    change = row["comparison"]
    mark, css = STATES[row["state"]]
    p, detectable = row["adjusted_p"], row["detectable"]
    numbers = (
        "–" if change["difference"] is None else f"{change['difference']:+.3f}",
        "< 0.001" if p < 0.001 else f"{p:.3f}",
        "–" if change["effect_size"] is None else f"{change['effect_size']:+.2f}",
        "–" if detectable is None else f"{detectable:.3f}",
        str(change["n"]),
    )
    shown = [el("td", number, class_="num") for number in numbers]
    return el(
        "tr",
        el("td", figure_name(row["metric"]).label(lang)),
        shown[0],
        el("td", _whisker(row, reach, css)),
        shown[1:],
        el("td", f"{mark} {told(lang, row['state'])}", class_=css),
    )


def _whisker(row: Row, reach: float, css: str) -> Markup:
    """The change with its interval on an axis from ``-reach`` to ``reach``."""

    def x(value: float) -> float:
        return 6 + (min(max(value / reach, -1.0), 1.0) + 1) / 2 * (WIDE - 12)

    low, value, high = (_at(row, key) for key in ("low", "difference", "high"))
    middle, colour = HIGH / 2, {"good": "after", "bad": "c5"}.get(css, "before")
    title = el("title", f"{value:+.3f} [{low:+.3f}, {high:+.3f}]")
    return el(
        "svg",
        el("line", x1=x(0), x2=x(0), y1=2.0, y2=HIGH - 2, class_="axis"),
        el("g", el("line", x1=x(low), x2=x(high), y1=middle, y2=middle, class_="whisker"),
           el("circle", title, cx=x(value), cy=middle, r=5, class_="dot"), class_=colour),
        viewBox=f"0 0 {WIDE:.0f} {HIGH:.0f}", role="img", style="min-width:150px;margin:0",
        aria_label=f"{value:+.3f} [{low:+.3f}, {high:+.3f}]",
    )  # fmt: skip


def _duels(found: Row, lang: Lang) -> Markup:
    """Win rates over the first model, and ratings of all."""
    if not found["win_rates"]:
        return Markup("")
    cards = [_wins(model, rate, lang) for model, rate in found["win_rates"].items()]
    note = told(lang, "duels_note", decider=told(lang, found["decider"]))
    body = el("div", cards, _ratings(found["ratings"], lang), class_="grid two")
    return el("section", el("h2", told(lang, "duels")), el("p", note, class_="note"), body)


def _wins(model: str, rate: Row, lang: Lang) -> Markup:
    kinds = [(kind, rate[kind], css) for kind, css in (("raw", "before"), ("controlled", "after"))]
    rows = [
        Interval(told(lang, kind), one["value"], one["low"], one["high"], css)
        for kind, one, css in kinds
        if one["value"] is not None
    ]
    named = [(f"{row.name}: {show(row.value, 'share')}", row.css) for row in rows]
    title = told(lang, "wins", model=model)
    mark = (0.5, told(lang, "even"))
    chart = interval_chart(rows, label=title, domain=(0.0, 1.0), mark=mark, percent=True)
    tally = f"{told(lang, 'tally')}: {rate['wins']} / {rate['ties']} / {rate['losses']}"
    if rate["missing"]:
        tally += f" · {told(lang, 'missing')}: {rate['missing']}"
    return el("div", el("h3", title), legend(named), chart, el("p", tally), class_="card")


def _ratings(found: Row | None, lang: Lang) -> Markup | None:
    if found is None:
        return None
    known = {name: one for name, one in found["ratings"].items() if one["value"] is not None}
    lines = [
        el("tr", el("td", name), el("td", f"{one['value']:.0f}", class_="num"),
           el("td", f"{one['low']:.0f} – {one['high']:.0f}", class_="num"))
        for name, one in sorted(known.items(), key=lambda item: -item[1]["value"])
    ]  # fmt: skip
    apart = None
    if len(found["leagues"]) > 1:
        leagues = "; ".join(", ".join(league) for league in found["leagues"])
        apart = el("p", told(lang, "leagues", leagues=leagues))
    return el("div", el("h3", told(lang, "rating")), el("table", lines), apart, class_="card")


def _all(found: Row, lang: Lang) -> Markup:
    """Every figure of every model, by dimension."""
    names: list[str] = list(dict.fromkeys(n for one in found["figures"].values() for n in one))
    names.sort(key=lambda name: _place({"metric": name}, found))
    head = el("tr", el("th", told(lang, "col_metric")), el("th"),
              [el("th", model, class_="num") for model in found["models"]])  # fmt: skip
    rows = []
    for name in names:
        unit, dimension = figure_name(name).unit, found["dimensions"].get(name)
        cells = [_cell(found["figures"][model].get(name), unit) for model in found["models"]]
        kind = told(lang, dimension) if dimension in DIMENSIONS else ""
        rows.append(el("tr", el("td", figure_name(name).label(lang)), el("td", kind), cells))
    return el(
        "section",
        el("h2", told(lang, "all")),
        el("p", told(lang, "all_note"), class_="note"),
        el("div", el("table", head, rows), class_="scroll"),
    )


def _cell(figure: Row | None, unit: Any) -> Markup:
    if figure is None:
        return el("td", "–", class_="num")
    low, value, high = (show(figure[key], unit) for key in ("low", "value", "high"))
    return el("td", el("b", value), f" [{low}, {high}]", class_="num")
