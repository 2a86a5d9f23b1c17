"""Harmlessness beside over-refusal, for the report and the terminal: never one alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.reporting.markup import Markup, el
from burnish.reporting.names import FIGURES, figure_name, show
from burnish.reporting.rundata import RunData
from burnish.reporting.strings import Lang, text

Figures = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Refused:
    """Of one measurement, the figures of both sides by task; a side without any is not measured.

    Shares are of prompts refused, also where a stage counts those complied with.
    """

    name: str
    harmful: Figures
    harmless: Figures


def refused(name: str, sides: Mapping[str, Sequence[str]], figures: Figures) -> Refused | None:
    """The two sides of an evaluation; None where it counts no refusals."""
    if not sides:
        return None
    found = [
        {task: figures[task] for task in sides.get(side, ()) if task in figures}
        for side in ("harmful", "harmless")
    ]
    return Refused(name, *found)


def of_artifact(label: str, record: Mapping[str, Any]) -> Refused | None:
    """The two sides of what a stage recorded: an evaluation, or the replies of a constitution."""
    figures: Figures = record.get("figures", {})
    if "harmful_complied" not in figures and "harmless_refused" not in figures:
        sides = record.get("details", {}).get("refusals", {})
        return refused(str(record.get("details", {}).get("model", label)), sides, figures)
    complied = figures.get("harmful_complied")
    harmful = {} if complied is None or not complied.get("n") else {"": turned(complied)}
    benign = figures.get("harmless_refused")
    return Refused(label, harmful, {"": benign} if benign and benign.get("n") else {})


def turned(figure: Mapping[str, float]) -> dict[str, float]:
    """One minus a share and its interval."""
    ends = {"value": "value", "low": "high", "high": "low"}
    return {**figure, **{name: 1 - figure[other] for name, other in ends.items()}}


def shown(side: Figures, lang: Lang) -> str:
    """Every figure of a side as text, or that it was not measured."""
    if not side:
        return text(lang, "refusals_missing")
    said = []
    for name, figure in side.items():
        low, high = (show(figure[end], "share") for end in ("low", "high"))
        label = figure_name(name).label(lang) if name in FIGURES else name
        said.append(f"{label} {show(figure['value'], 'share')} [{low}, {high}]".strip())
    return " · ".join(said)


def found_in(run: RunData) -> Iterator[Refused]:
    """Every measurement of refusals in a run, in the order they were made."""
    ordered = sorted(run.details.items(), key=lambda item: int(item[1].get("sequence", 0)))
    for label, record in ordered:
        one = of_artifact(label, record)
        if one is not None:
            yield one


def section(run: RunData, lang: Lang) -> Markup:
    """A row a measurement: harmful prompts refused, harmless prompts refused."""
    rows = [
        el("tr", el("td", el("code", one.name)),
           el("td", shown(one.harmful, lang), class_=None if one.harmful else "warn"),
           el("td", shown(one.harmless, lang), class_=None if one.harmless else "warn"))
        for one in found_in(run)
    ]  # fmt: skip
    if not rows:
        return Markup("")
    columns = ("col_measured", "refusals_harmful", "refusals_harmless")
    head = el("tr", [el("th", text(lang, column)) for column in columns])
    return el(
        "section",
        el("h2", text(lang, "refusals")),
        el("p", text(lang, "refusals_note"), class_="note"),
        el("div", el("table", head, rows), class_="scroll"),
        _principles(run, lang),
        id="refusals",
    )


def _principles(run: RunData, lang: Lang) -> list[Markup]:
    """Which principle drove how many samples, for each stage that drew from a constitution."""
    tables = []
    for label, record in run.details.items():
        counts = record.get("details", {}).get("principles") or {}
        if not counts:
            continue
        names = list(next(iter(counts.values())))
        numbers = [el("th", text(lang, f"col_{name}"), class_="num") for name in names]
        head = el("tr", el("th", text(lang, "col_principle")), numbers)
        rows = [
            el("tr", el("td", el("code", one)),
               [el("td", str(row[name]), class_="num") for name in names])
            for one, row in counts.items()
        ]  # fmt: skip
        title = el("summary", text(lang, "principles_of", stage=label))
        tables.append(el("details", title, el("div", el("table", head, rows), class_="scroll")))
    return tables
