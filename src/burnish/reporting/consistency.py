"""Long-term consistency in the report: how far each version is from every earlier one."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.reporting.charts import Line, line_chart
from burnish.reporting.markup import Markup, el, join
from burnish.reporting.names import show
from burnish.reporting.rundata import Row, RunData
from burnish.reporting.strings import Lang, text

STAGE = "measure.probe"
SHOWN = 12
"""Versions that have room in the table; the last ones."""


def consistency(run: RunData, lang: Lang) -> Markup:
    """Drift of every version from every earlier one, by the last probe of the run."""
    found = _last(run)
    if found is None:
        return Markup("")
    versions: list[str] = found["versions"][-SHOWN:]
    agreement = [row[-SHOWN:] for row in found["agreement"][-SHOWN:]]
    divergence: list[Row] = found["divergence"][-SHOWN:]
    head = el("tr", el("th"), [el("th", name, class_="num") for name in versions[:-1]])
    rows = [
        el("tr", el("td", name), [
            _cell(1 - agreement[later][earlier], divergence[later].get(versions[earlier]))
            if earlier < later else el("td")
            for earlier in range(len(versions) - 1)
        ])
        for later, name in enumerate(versions) if later
    ]  # fmt: skip
    return el(
        "section",
        el("h2", text(lang, "consistency")),
        el("p", text(lang, "consistency_note"), class_="note"),
        el("div", el("table", head, rows), class_="scroll"),
        _lines(versions, agreement, lang),
        id="consistency",
    )


def _last(run: RunData) -> Row | None:
    """The details of the latest probe that has something to compare."""
    probes = [one for one in run.details.values() if one.get("stage") == STAGE]
    newest = max(probes, key=lambda one: int(one.get("sequence") or 0), default=None)
    found: Row = (newest or {}).get("details") or {}
    return found if len(found.get("versions") or []) > 1 else None


def _cell(drift: float, nats: float | None) -> Markup:
    heat = f"background:color-mix(in srgb, var(--bad) {round(70 * drift)}%, transparent)"
    more = None if nats is None else el("small", f" {nats:+.2f}")
    return el("td", el("b", show(drift, "share")), more, class_="num", style=heat)


def _lines(versions: Sequence[str], agreement: Sequence[Sequence[float]], lang: Lang) -> Markup:
    """Drift from the first version and from the one before, version by version."""
    if len(versions) < 3:
        return Markup("")
    places = range(1, len(versions))
    lines = [
        Line(text(lang, "drift_first"), [(at, 1 - agreement[at][0]) for at in places], "c2"),
        Line(text(lang, "drift_last"), [(at, 1 - agreement[at][at - 1]) for at in places], "c1"),
    ]
    title = text(lang, "drift")
    chart = line_chart(lines, label=title, x_names=versions, domain=(0.0, 1.0), percent=True)
    return join(el("div", el("h3", title), chart, class_="card narrow apart"))
