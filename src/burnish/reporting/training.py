"""The middle of the report: pipeline, training curves, data funnel."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from burnish.reporting.charts import Line, line_chart
from burnish.reporting.markup import Markup, breakable, el, join
from burnish.reporting.names import duration, figure_name, metric_name, stage_name
from burnish.reporting.overview import COLOURS
from burnish.reporting.plots import bar
from burnish.reporting.rundata import Row, RunData
from burnish.reporting.strings import Lang, text

FIRST = ("loss", "reward", "kl", "cost", "lambda", "general_ppl", "accuracy")
NOT_CURVES = frozenset(
    {"step", "round", "epoch", "time", "tokens", "window_tokens", "targets", "flops", "skipped"}
)
STATES = {"done": "✓", "reused": "✓", "skipped": "–", "failed": "✕", "interrupted": "⏸"}


def pipeline(run: RunData, lang: Lang) -> Markup:
    """Every stage in the order it ran, by round, with its time."""
    stages = run.summary.get("stages", [])
    if not stages:
        return Markup("")
    longest = max((float(stage.get("seconds") or 0) for stage in stages), default=0.0) or 1.0
    rounds: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for stage in stages:
        rounds[int(stage.get("round") or 0)].append(stage)
    parts = []
    for number in sorted(rounds):
        title = text(lang, "round_n", round=number) if number else text(lang, "prepare")
        boxes = [_stage(stage, longest, lang) for stage in rounds[number]]
        parts.append(join(el("p", title, class_="round-name"), el("div", boxes, class_="strip")))
    return el(
        "section",
        el("h2", text(lang, "pipeline")),
        el("p", text(lang, "pipeline_note"), class_="note"),
        parts,
        id="pipeline",
    )


def _stage(stage: dict[str, Any], longest: float, lang: Lang) -> Markup:
    seconds = float(stage.get("seconds") or 0)
    state = str(stage.get("state", "done"))
    shown = stage_name(str(stage.get("stage", "")), lang)
    css = "bad" if state == "failed" else "good" if state in ("done", "reused") else "warn"
    width = 100 * seconds / longest
    return el(
        "div",
        el("div", el("span", STATES.get(state, "…"), class_=css, title=state), " ",
           breakable(str(stage.get("name", ""))), class_="name"),
        el("div", el("span", shown), el("span", duration(seconds)), class_="time"),
        el("div", el("i", style=f"width:{width:.1f}%"), class_="meter"),
        class_="stage",
    )  # fmt: skip


def curves(run: RunData, lang: Lang) -> Markup:
    """For every stage its main curves, rounds on top of each other; the rest folded away."""
    stages = list(dict.fromkeys(stage for stage, _ in run.metrics))
    first: list[Markup] = []
    rest: list[Markup] = []
    for stage in stages:
        first += _guard(run, stage, lang)
        rounds = sorted(number for name, number in run.metrics if name == stage)
        names = _metric_names(run, stage)
        for metric in sorted(names, key=_rank):
            card = curve(run, stage, rounds, metric, lang)
            if card:
                (first if _rank(metric) < len(FIRST) else rest).append(card)
    if not first and not rest:
        return Markup("")
    more = el("details", el("summary", f"{text(lang, 'more_curves')} ({len(rest)})"),
              el("div", rest, class_="grid"))  # fmt: skip
    return el(
        "section",
        el("h2", text(lang, "curves")),
        el("p", text(lang, "curves_note"), class_="note"),
        el("div", first, class_="grid"),
        more if rest else None,
        id="curves",
    )


def _guard(run: RunData, stage: str, lang: Lang) -> list[Markup]:
    """The forgetting guard's readings with its bounds and what it did, for stages that had one."""
    charts = []
    for label, record in run.details.items():
        guard = record.get("details", {}).get("guard") or {}
        readings = guard.get("readings") or []
        if record.get("name") != stage or not readings:
            continue
        steps = [0.0, *(float(reading["step"]) for reading in readings)]
        did = ["", *(_did(reading, lang) for reading in readings)]
        # A log holds no infinite number; the chart leaves it out.
        ratios = [math.inf if r.get("ratio") is None else float(r["ratio"]) for r in readings]
        name = figure_name("general_ppl_ratio").label(lang)
        measures = [(name, [1.0, *ratios], float(guard["bound"]), False)]
        for task, limits in (guard.get("tasks") or {}).items():
            values = [float(limits["start"]), *(float(r["tasks"][task]) for r in readings)]
            measures.append((figure_name(task).label(lang), values, float(limits["bound"]), True))
        for name, values, bound, percent in measures:
            if not any(map(math.isfinite, values[1:])):
                continue
            line = Line(label, list(zip(steps, values, strict=True)), "c3", labels=did)
            limit, title = (bound, text(lang, "guard_bound")), f"{label} · {name}"
            chart = line_chart([line], label=title, bound=limit, percent=percent)
            charts.append(el("div", el("h3", title), chart, class_="card"))
    return charts


def _did(reading: dict[str, Any], lang: Lang) -> str:
    """What the guard did at a reading, in a few words."""
    action = reading.get("action")
    if action in (None, "mark"):
        return ""
    values = {name: f"{reading.get(name, math.nan):.3g}" for name in ("replay", "rate")}
    return text(lang, f"guard_{action}", **values)


def _rank(metric: str) -> int:
    return FIRST.index(metric) if metric in FIRST else len(FIRST)


def _metric_names(run: RunData, stage: str) -> list[str]:
    names: dict[str, None] = {}
    for (owner, _), rows in run.metrics.items():
        if owner == stage:
            for row in rows:
                names |= {k: None for k, v in row.items() if is_number(v)}
    return [name for name in names if name not in NOT_CURVES]


def is_number(value: object) -> bool:
    """Whether a value of a log is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def curve(run: RunData, stage: str, rounds: list[int], metric: str, lang: Lang) -> Markup:
    """A stage's metric over its steps, a line for each round; nothing where there is no line."""
    lines = []
    for index, number in enumerate(rounds):
        rows = run.metrics[stage, number]
        points = [
            (float(row.get("step", order)), float(row[metric]))
            for order, row in enumerate(rows)
            if is_number(row.get(metric))
        ]
        if len(points) > 1:
            name = text(lang, "round_n", round=number)
            colour = COLOURS[index % len(COLOURS)]
            lines.append(Line(name, points, colour, smooth=True))
    if not lines:
        return Markup("")
    title = f"{stage} · {metric_name(metric, lang)}"
    bound = _budget(run, stage, lang) if metric == "cost" else None
    chart = line_chart(lines, label=title, bound=bound, log="ppl" in metric)
    return el("div", el("h3", title), chart, class_="card")


def _budget(run: RunData, stage: str, lang: Lang) -> tuple[float, str] | None:
    """The limit that a stage's constraint set to its cost."""
    for record in run.details.values():
        bound = record.get("details", {}).get("constraint") or {}
        if record.get("name") == stage and "budget" in bound:
            return float(bound["budget"]), text(lang, "budget")
    return None


def funnels(details: Mapping[str, Row], lang: Lang) -> Markup:
    """How many records each filtering step let through, a chart for each artifact that has them;
    ``details`` are the records of artifacts by ref."""
    shown = []
    for name, record in details.items():
        steps = _funnel_steps(record, lang)
        if len(steps) > 1:
            body = el("div", _funnel(steps, lang), class_="funnel")
            shown.append(el("div", el("h3", name), body, _removed(record, lang), class_="card"))
    if not shown:
        return Markup("")
    return el(
        "section",
        el("h2", text(lang, "funnel")),
        el("p", text(lang, "funnel_note"), class_="note"),
        el("div", shown, class_="grid two"),
        id="data",
    )


def _funnel_steps(record: dict[str, Any], lang: Lang) -> list[tuple[str, int]]:
    """The steps of ``funnel`` in an artifact's details: name and how many were left."""
    listed = record.get("details", {}).get("funnel") or []
    steps = [(str(step["name"]), int(step["left"])) for step in listed]
    return [(text(lang, "funnel_in"), int(listed[0]["entered"])), *steps] if listed else []


def _removed(record: dict[str, Any], lang: Lang) -> Markup:
    """Examples of what was removed, with the reason, folded away."""
    rows = [
        el("tr", el("td", str(step["name"])), el("td", str(gone.get("reason", ""))),
           el("td", str(gone.get("prompt", "")), class_="reply"),
           el("td", str(gone.get("reply", gone.get("text", ""))), class_="reply"))
        for step in record.get("details", {}).get("funnel") or []
        for gone in step.get("examples", [])
    ]  # fmt: skip
    if not rows:
        return Markup("")
    columns = ("filter", "reason", "prompt", "reply")
    head = el("tr", [el("th", text(lang, f"col_{column}")) for column in columns])
    table = el("div", el("table", head, rows), class_="scroll")
    return el("details", el("summary", text(lang, "funnel_examples")), table)


def _funnel(steps: list[tuple[str, int]], lang: Lang) -> list[Markup]:
    most = max(count for _, count in steps) or 1
    rows, previous = [], steps[0][1]
    for name, count in steps:
        gone = (
            text(lang, "funnel_removed", count=f"{previous - count:,}") if previous > count else ""
        )
        rows.append(el("span", name.replace("_", " ")))
        rows.append(bar(count / most))
        rows.append(el("span", el("b", f"{count:,}"), f" {gone}", class_="num"))
        previous = count
    return rows
