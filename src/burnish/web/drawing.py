"""A run drawn: its pipeline as a line map, its curves as charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from burnish.reporting.charts import Line, line_chart
from burnish.reporting.graph import columns
from burnish.reporting.markup import Markup, el
from burnish.reporting.names import STAGES, duration, metric_name
from burnish.reporting.overview import COLOURS
from burnish.reporting.rundata import Row, RunData
from burnish.reporting.strings import Lang
from burnish.reporting.training import curve, is_number
from burnish.web.i18n import text
from burnish.web.run_view import RunView, StageView

ACROSS, DOWN, EDGE, RADIUS = 96.0, 68.0, 48.0, 12.0
LETTERS = 16
MARKS = {
    "done": "✓", "reused": "✓", "failed": "✕", "died": "✕", "interrupted": "‖", "running": "▸",
}  # fmt: skip
CURVES = (
    "loss", "eval_loss", "accuracy", "margin", "reward", "watch_proxy", "watch_verifier",
    "kl", "entropy", "length", "cost", "lambda", "general_ppl", "clip_fraction",
)  # fmt: skip
"""The metrics that are watched as a run goes; the report has the others."""


def pipeline(view: RunView, lang: Lang) -> Markup:
    """Prepare and the latest round: a station for each stage, lines from what it is made from."""
    latest: dict[str, StageView] = {}
    for stage in view.stages():
        if stage.name not in latest or stage.round >= latest[stage.name].round:
            latest[stage.name] = stage
    order = [call.name for call in view.recipe.stages()] if view.recipe else []
    names = [name for name in order if name in latest]
    names += [name for name in latest if name not in names]
    edges = [(child, parent) for child, parent in view.edges() if {child, parent} <= set(names)]
    places = _places(names, edges)
    if not places:
        return Markup("")
    width = EDGE * 2 + ACROSS * max(column for column, _ in places.values())
    height = 72.0 + DOWN * max(row for _, row in places.values())
    at = {name: (EDGE + c * ACROSS, 26.0 + r * DOWN) for name, (c, r) in places.items()}
    lines = [_track(at[parent], at[child], latest[child]) for child, parent in edges]
    stations = [_station(latest[name], at[name], lang) for name in names]
    return el(
        "svg",
        lines,
        stations,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        role="img",
        aria_label=text(lang, "pipeline"),
        class_="map",
    )


def _places(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, tuple[int, int]]:
    """Column and row of each stage: beside a parent where there is room, for straight lines."""
    column = columns(names, edges)
    rows: dict[str, int] = {}
    taken: set[tuple[int, int]] = set()
    for name in sorted(names, key=lambda name: (column[name], names.index(name))):
        wanted = [rows[parent] for child, parent in edges if child == name]
        row = min(wanted, default=0)
        while (column[name], row) in taken:
            row += 1
        rows[name] = row
        taken.add((column[name], row))
    return {name: (column[name], rows[name]) for name in names}


def _track(start: tuple[float, float], end: tuple[float, float], child: StageView) -> Markup:
    (x1, y1), (x2, y2) = start, end
    bend = min(ACROSS, x2 - x1) / 2
    path = (
        f"M{x1:.1f} {y1:.1f} C{x1 + bend:.1f} {y1:.1f} {x1 + bend:.1f} {y2:.1f} "
        f"{x1 + 2 * bend:.1f} {y2:.1f} L{x2:.1f} {y2:.1f}"
    )
    return el("path", d=path, class_=f"track {child.state}")


def _station(stage: StageView, place: tuple[float, float], lang: Lang) -> Markup:
    x, y = place
    shown = stage.name if len(stage.name) <= LETTERS else stage.name[: LETTERS - 1] + "…"
    kind = STAGES.get(stage.run, stage.run) if lang == "zh" else stage.run
    about = [f"{stage.name} · {kind}", text(lang, f"state_{stage.state}"), stage.cause]
    note = duration(stage.seconds) if stage.seconds else ""
    if stage.state == "running" and stage.step:
        note = text(lang, "at_step", step=stage.step)
    return el(
        "g",
        el("title", "\n".join(part for part in about if part)),
        el("circle", cx=x, cy=y, r=RADIUS),
        el("text", MARKS.get(stage.state, ""), x=x, y=y + 4.5, text_anchor="middle", class_="mark"),
        el("text", shown, x=x, y=y + 28, text_anchor="middle", class_="name"),
        el("text", note, x=x, y=y + 41, text_anchor="middle"),
        class_=f"station {stage.state}",
    )


def curves(view: RunView, lang: Lang) -> list[Markup]:
    """The curves of the stage that logged last first, then of the others, newest first."""
    metrics = view.curves()
    run = RunData(view.folder, view.state, "", metrics, view.details())
    stages = list(dict.fromkeys(stage for stage, _ in metrics))[::-1]
    draw = partial(_of_stage, run, metrics, lang)
    return [card for stage in stages for card in draw(stage)]


def _of_stage(
    run: RunData, metrics: Mapping[tuple[str, int], list[Row]], lang: Lang, stage: str
) -> list[Markup]:
    rounds = sorted(number for name, number in metrics if name == stage)
    cards = (curve(run, stage, rounds, metric, lang) for metric in CURVES)
    return [card for card in cards if card]


def compared(views: Sequence[RunView], lang: Lang) -> list[Markup]:
    """For each stage and metric that two of the runs have, a chart with a line for each run.

    Of several rounds the last counts.
    """
    logs = {view.name: _last_rounds(view.curves()) for view in views}
    stages = dict.fromkeys(stage for log in logs.values() for stage in log)
    cards = []
    for stage in stages:
        for metric in CURVES:
            lines = []
            for index, (name, log) in enumerate(logs.items()):
                points = [
                    (float(row.get("step") or order), float(row[metric]))
                    for order, row in enumerate(log.get(stage, []))
                    if is_number(row.get(metric))
                ]
                if len(points) > 1:
                    lines.append(Line(name, points, COLOURS[index % len(COLOURS)], smooth=True))
            if len(lines) > 1:
                title = f"{stage} · {metric_name(metric, lang)}"
                chart = line_chart(lines, label=title, log="ppl" in metric)
                cards.append(el("div", el("h3", title), chart, class_="card"))
    return cards


def _last_rounds(metrics: Mapping[tuple[str, int], list[Row]]) -> dict[str, list[Row]]:
    return {stage: metrics[stage, number] for stage, number in sorted(metrics)}
