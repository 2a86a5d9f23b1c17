"""The report on policies that were optimised: alarms, and reward against divergence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.reporting.alarms import sentence
from burnish.reporting.charts import Line, line_chart
from burnish.reporting.markup import Markup, el
from burnish.reporting.overview import COLOURS
from burnish.reporting.rundata import RunData
from burnish.reporting.strings import Lang, text

GRID = 60
"""Points of a drawn curve."""


def alarms_of(record: Mapping[str, Any], lang: Lang) -> list[str]:
    """The alarms of an artifact's record, as sentences."""
    return [sentence(alarm, lang) for alarm in record.get("details", {}).get("alarms") or []]


def optimisation(run: RunData, lang: Lang) -> Markup:
    """For every optimised policy its alarms and its rewards over sqrt(KL): where it was watched on
    held-out prompts, with Gao's curves. Nothing where no policy was optimised."""
    parts: list[Markup] = []
    for label, record in run.details.items():
        said = [el("li", line, class_="warn") for line in alarms_of(record, lang)]
        watch = record.get("details", {}).get("watch")
        if said:
            parts.append(el("div", el("h3", label), el("ul", said), class_="card"))
        if watch:
            parts.append(_watched(label, watch, lang))
    parts += _unwatched(run, lang)
    if not parts:
        return Markup("")
    return el(
        "section",
        el("h2", text(lang, "optimisation")),
        el("p", text(lang, "optimisation_note"), class_="note"),
        el("div", parts, class_="grid"),
        id="optimisation",
    )


def _unwatched(run: RunData, lang: Lang) -> list[Markup]:
    """Reward trained on over sqrt(KL), step by step, a line a round, of stages without a watch."""
    watched = {str(record.get("name")) for record in run.details.values()
               if record.get("details", {}).get("watch")}  # fmt: skip
    lines: dict[str, list[Line]] = {}
    for (stage, number), rows in run.metrics.items():
        # The estimate of a divergence near 0 may fall below it.
        points = sorted(
            (math.sqrt(max(row["kl"], 0.0)), float(row["reward"]))
            for row in rows
            if {"kl", "reward"} <= row.keys()
        )
        if len(points) > 2 and stage not in watched:
            found = lines.setdefault(stage, [])
            name, css = text(lang, "round_n", round=number), COLOURS[len(found) % len(COLOURS)]
            found.append(Line(name, points, css, joined=False))
    cards = []
    for stage, drawn in lines.items():
        title = text(lang, "reward_over_kl", stage=stage)
        note = el("p", text(lang, "over_kl_noise"))
        cards.append(
            el("div", el("h3", title), line_chart(drawn, label=title), note, class_="card")
        )
    return cards


def _watched(label: str, watch: Mapping[str, Any], lang: Lang) -> Markup:
    looks: Sequence[Mapping[str, float]] = watch["looks"]
    distances = [math.sqrt(look["kl"]) for look in looks]
    lines = []
    for name, css, fitted in (("proxy", "c2", "c5"), ("heldout", "c1", "c3")):
        points = [(d, look[name] - looks[0][name])
                  for d, look in zip(distances, looks, strict=True)]  # fmt: skip
        lines.append(Line(text(lang, f"watch_{name}"), points, css))
        if curve := watch.get("gao", {}).get(name):
            lines.append(_curve(curve, max(distances), fitted, text(lang, f"gao_{name}")))
    title = text(lang, "watch_title", label=label)
    key = "watch_stopped" if watch["rolled_back"] else "watch_quiet"
    if watch["over_optimised"] and not watch["rolled_back"]:
        key = "watch_reported"
    said = text(lang, key, best=watch["best_step"], last=looks[-1]["step"])
    coefficients = [
        text(lang, "gao_said", name=text(lang, f"watch_{name}"), **curve)
        for name, curve in watch.get("gao", {}).items()
    ]
    chart = line_chart(lines, label=title)
    return el("div", el("h3", title), chart, [el("p", line) for line in (said, *coefficients)],
              class_="card")  # fmt: skip


def _curve(fit: Mapping[str, Any], last: float, css: str, name: str) -> Line:
    """d (alpha - beta log d), from 0 to the last distance."""
    points = [(0.0, 0.0)]
    for place in range(1, GRID + 1):
        d = last * place / GRID
        points.append((d, d * (fit["alpha"] - fit["beta"] * math.log(d))))
    return Line(name, points, css)
