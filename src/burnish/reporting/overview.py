"""The upper half of the report: verdict, findings, before → after, rounds."""

from __future__ import annotations

from typing import Any

from burnish.reporting import changes, spending
from burnish.reporting.charts import Interval, Line, interval_chart, line_chart
from burnish.reporting.findings import findings, promoted, recommendations, tone_of
from burnish.reporting.markup import Markup, el
from burnish.reporting.names import DIMENSIONS, figure_name, show
from burnish.reporting.rundata import Change, Point, RunData
from burnish.reporting.strings import Lang, text, word

COLOURS = ("c1", "c2", "c3", "c5", "c4")


def header(run: RunData, lang: Lang) -> Markup:
    """Verdict badge, headline and the run's plain facts."""
    badge, css, headline = _verdict(run.summary, lang)
    return el(
        "header",
        el("span", badge, class_=f"badge {css}"),
        el("h1", headline),
        el("p", text(lang, "intro"), class_="lead"),
        el("ul", [el("li", f"{n} ", el("b", value)) for n, value in spending.facts(run, lang)],
           class_="facts"),
        spending.tiers(run, lang),
    )  # fmt: skip


def _verdict(summary: dict[str, Any], lang: Lang) -> tuple[str, str, str]:
    status, verdicts = str(summary.get("status", "done")), summary.get("verdicts", [])
    if status not in ("done", "complete", "finished"):
        return text(lang, "unfinished", status=status), "bad", text(lang, "headline_plain")
    if not verdicts:
        return text(lang, "no_verdict"), "", text(lang, "headline_plain")
    last = verdicts[-1]
    if promoted(last):
        headline = text(lang, "headline_promoted", round=last.get("round", len(verdicts)))
        return text(lang, "promoted"), "good", headline
    earlier = [verdict for verdict in verdicts if promoted(verdict)]
    if earlier:
        numbers = {"round": earlier[-1].get("round"), "last": last.get("round")}
        return text(lang, "promoted"), "good", text(lang, "headline_earlier", **numbers)
    if last.get("decision") == "failed":
        return text(lang, "decision_failed"), "bad", text(lang, "headline_failed", **last)
    if last.get("decision") == "undecided":
        if not last.get("comparisons"):
            return text(lang, "no_verdict"), "", text(lang, "headline_plain")
        return text(lang, "decision_undecided"), "", text(lang, "headline_undecided", **last)
    return text(lang, "kept"), "", text(lang, "headline_kept", round=last.get("round", 1))


def key_findings(run: RunData, lang: Lang) -> Markup:
    """Findings and recommendations side by side."""
    marks = {"good": "✓", "bad": "✕", "flat": "○"}
    found = [
        el("li", item.text, class_=item.tone, data_mark=marks[item.tone])
        for item in findings(run, lang)
    ]
    advice = recommendations(run, lang) or [text(lang, "no_recommendations")]
    tips = [el("li", item, class_="flat", data_mark="→") for item in advice]
    return el(
        "section",
        el("h2", text(lang, "findings")),
        el("p", text(lang, "findings_rule"), class_="note"),
        el("div",
           el("div", el("h3", text(lang, "what_changed")), el("ul", found, class_="list"),
              class_="card"),
           el("div", el("h3", text(lang, "recommendations")), el("ul", tips, class_="list"),
              class_="card"),
           class_="grid two"),
        id="findings",
    )  # fmt: skip


def cards(run: RunData, lang: Lang) -> Markup:
    """One card a figure: before → after where both were measured, else the value."""
    shown = [_change_card(change, run, lang) for change in run.changes]
    twice = {change.name for change in run.changes}
    for name, point in run.figures.items():
        stem = name.removesuffix("_before").removesuffix("_after")
        known = figure_name(name).about("en")
        if name not in twice and stem not in twice and known and "without" not in name:
            shown.append(_value_card(name, point, lang))
    if not shown:
        return Markup("")
    return el(
        "section",
        el("h2", text(lang, "before_after")),
        el("p", text(lang, "before_after_note"), class_="note"),
        changes.table(run, lang),
        el("div", el("span", el("i"), text(lang, "before"), class_="before"),
           el("span", el("i"), text(lang, "after"), class_="after"), class_="legend apart"),
        el("div", shown, class_="grid", style="margin-top:12px"),
        id="figures",
    )  # fmt: skip


def _change_card(change: Change, run: RunData, lang: Lang) -> Markup:
    name, tone = figure_name(change.name), tone_of(change)
    before, after = change.before, change.after
    rows = [
        Interval(text(lang, "before"), before.value, before.low, before.high, "before"),
        Interval(text(lang, "after"), after.value, after.low, after.high, "after"),
    ]
    without = run.figures.get("knowledge_without_pretraining")
    mark = None
    if change.name == "knowledge_heldout_exact" and without:
        label = figure_name("knowledge_without_pretraining").label(lang)
        mark = (without.value, f"{label}: {show(without.value, 'share')}")
    elif name.unit == "ratio":
        mark = (1.0, "1")
    return el(
        "article",
        el("h3", name.label(lang)),
        el("div",
           el("span", show(before.value, name.unit), " →", class_="was"),
           el("span", show(after.value, name.unit), class_="now"),
           el("span", changes.difference(change, lang), class_=f"delta {tone}"),
           class_="big"),
        interval_chart(rows, label=name.label(lang), domain=_domain(rows, name.unit), mark=mark,
                       percent=name.unit == "share"),
        el("p", _about(change.name, lang)),
        class_="card",
    )  # fmt: skip


def _value_card(name: str, point: Point, lang: Lang) -> Markup:
    naming = figure_name(name)
    rows = [Interval(text(lang, "measured"), point.value, point.low, point.high)]
    domain, shares = _domain(rows, naming.unit), naming.unit == "share"
    mark = (1.0, "1") if naming.unit == "ratio" else None
    return el(
        "article",
        el("h3", naming.label(lang)),
        el("div", el("span", show(point.value, naming.unit), class_="now"), class_="big"),
        interval_chart(rows, label=naming.label(lang), domain=domain, mark=mark, percent=shares),
        el("p", _about(name, lang)),
        class_="card",
    )


def _about(name: str, lang: Lang) -> str:
    naming = figure_name(name)
    stop = "。" if lang == "zh" else "."
    words = [naming.about(lang)]
    if naming.better:
        direction = text(lang, f"better_{naming.better}")
        words.append(direction[:1].upper() + direction[1:] + stop)
    return ("" if lang == "zh" else " ").join(word for word in words if word)


def _domain(rows: list[Interval], unit: str) -> tuple[float, float]:
    if unit == "share" and all(row.low >= 0 and row.high <= 1 for row in rows):
        return 0.0, 1.0
    low = min([row.low for row in rows] + ([1.0] if unit == "ratio" else []))
    high = max(row.high for row in rows)
    room = (high - low) * 0.15 or abs(high) * 0.15 or 1.0
    return low - room, high + room


def trend(run: RunData, lang: Lang) -> Markup:
    """Small multiples by dimension: every series that was measured three times or more."""
    groups: dict[str, list[Markup]] = {dimension: [] for dimension in DIMENSIONS}
    dimensions = run.dimensions
    for name, points in run.series.items():
        if len(points) > 2:
            group = groups.setdefault(dimensions.get(name, ""), [])
            group.append(_trend(name, points, run, lang))
    written = [
        (el("h3", word(lang, f"dimension_{dimension}", dimension), class_="apart"),
         el("div", charts, class_="grid"))
        for dimension, charts in groups.items()
        if charts
    ]  # fmt: skip
    if not written:
        return Markup("")
    return el(
        "section",
        el("h2", text(lang, "trend")),
        el("p", text(lang, "trend_note"), class_="note"),
        written,
        id="trend",
    )


def _trend(name: str, points: list[Point], run: RunData, lang: Lang) -> Markup:
    """The champions of a figure as a line, the candidates as grey points."""
    naming = figure_name(name)
    shares = naming.unit == "share"
    line = Line(
        text(lang, "champion"),
        [(float(index), point.value) for index, point in enumerate(points)],
        "c1",
        [(point.low, point.high) for point in points],
    )
    candidates = run.candidates(name)
    places = {point.label: float(index) for index, point in enumerate(points)}
    judged = [(places[k], point.value) for k, point in candidates.items() if k in places]
    chart = line_chart(
        [Line(text(lang, "candidate"), judged, "c4", joined=False), line],
        label=naming.label(lang),
        x_names=[_round_name(point.label, lang) for point in points],
        domain=(0.0, 1.0) if shares else None,
        percent=shares,
    )
    return el("div", el("h3", naming.label(lang)), chart, class_="card")


def _round_name(label: str, lang: Lang) -> str:
    if label == "0":
        return text(lang, "start")
    return text(lang, "round_n", round=label) if label.isdigit() else label
