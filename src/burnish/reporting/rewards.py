"""The reward model's part of the report: accuracy by set, reliability, length, agreement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.reporting.charts import Interval, Line, interval_chart, line_chart
from burnish.reporting.markup import Markup, el
from burnish.reporting.names import figure_name, show
from burnish.reporting.overview import COLOURS
from burnish.reporting.rundata import Point, RunData
from burnish.reporting.strings import STRINGS, Lang, text

STAGE = "fit.reward"
NO_VALUE = "–"


def reward(run: RunData, lang: Lang) -> Markup:
    """Reward model accuracy: the random split beside a source left out whole; then, of each reward
    model of the last round, what is known of every set of pairs."""
    figures, models = reward_figures(run), _last_models(run)
    if not figures and not models:
        return Markup("")
    return el(
        "section",
        el("h2", text(lang, "reward")),
        el("p", text(lang, "reward_note"), class_="note"),
        _accuracies(figures, lang) if figures else None,
        [_model(label, details, lang) for label, details in models.items()],
        id="reward",
    )


def reward_figures(run: RunData) -> dict[str, Point]:
    """The accuracies of the reward model among the run's figures."""
    return {
        name: point
        for name, point in run.figures.items()
        if name.startswith("reward") and "accuracy" in name
    }


def _last_models(run: RunData) -> dict[str, Mapping[str, Any]]:
    """By artifact the details of each reward model's last round, where it has a report."""
    last: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for label, record in sorted(run.details.items(), key=lambda item: item[1].get("round") or 0):
        details = record.get("details", {})
        if record.get("stage") == STAGE and details.get("sets"):
            last[str(record.get("name"))] = (label, details)
    return dict(last.values())


def _accuracies(figures: Mapping[str, Point], lang: Lang) -> Markup:
    rows = [
        Interval(figure_name(name).label(lang), p.value, p.low, p.high, COLOURS[i % len(COLOURS)])
        for i, (name, p) in enumerate(figures.items())
    ]
    names = [
        el("span", el("i"), f"{row.name}: {show(row.value, 'share')}", class_=row.css)
        for row in rows
    ]
    chart = interval_chart(
        rows,
        label=text(lang, "reward"),
        domain=(0.0, 1.0),
        mark=(0.5, text(lang, "chance")),
        percent=True,
    )
    return el("div", el("div", names, class_="legend"), chart, class_="card narrow")


def _model(label: str, details: Mapping[str, Any], lang: Lang) -> Markup:
    sets = details["sets"]
    charts = [_reliability(name, report, lang) for name, report in sets.items()]
    return el(
        "div",
        el("h3", label, class_="apart"),
        _refresh(details, lang),
        el("div", _table(sets, lang), class_="card scroll"),
        el("p", text(lang, "reward_table_note"), class_="note"),
        _best_of_n(details, lang),
        el("div", charts, class_="grid"),
        el("p", _temperature(details, lang), class_="note"),
        el("details", el("summary", text(lang, "reliability_counts")), _bins(sets, lang)),
    )


def set_name(name: str, lang: Lang) -> str:
    """A set of pairs as the report calls it; one of the user's own by its own name."""
    key = f"pairs_{name}"
    return text(lang, key) if key in STRINGS else name


def _table(sets: Mapping[str, Any], lang: Lang) -> Markup:
    columns = ["pairs", "n", "accuracy", "ece", "ece_after", "length", "longer", "shorter"]
    several = any("agreement" in report for report in sets.values())
    columns += ["agree", "right_agree", "right_disagree"] if several else []
    head = el("tr", [el("th", text(lang, f"reward_col_{column}")) for column in columns])
    rows = [
        el("tr", el("td", set_name(name, lang)), [el("td", v, class_="num") for v in
           _cells(report, several)])
        for name, report in sets.items()
    ]  # fmt: skip
    return el("table", head, rows)


def _cells(report: Mapping[str, Any], several: bool) -> list[str]:
    accuracy, calibration, length = report["accuracy"], report["calibration"], report["length"]
    after = calibration.get("after")
    found = [
        str(accuracy["n"]),
        _with_interval(accuracy),
        f"{calibration['before']['error']:.3f}",
        f"{after['error']:.3f}" if after else NO_VALUE,
        f"{length['gaps']['value']:+.2f}" if "gaps" in length else NO_VALUE,
        *(_with_interval(length["accuracy"].get(side)) for side in ("longer", "shorter")),
    ]
    agreement = report.get("agreement", {})
    names = ("all_agree", "agree", "disagree") if several else ()
    return found + [_with_interval(agreement.get(name)) for name in names]


def _with_interval(figure: Mapping[str, float] | None) -> str:
    if figure is None:
        return NO_VALUE
    low, high = (show(figure[end], "share") for end in ("low", "high"))
    return f"{show(figure['value'], 'share')} [{low}, {high}], n={figure['n']}"


def _reliability(name: str, report: Mapping[str, Any], lang: Lang) -> Markup:
    """Accuracy against confidence, before and after the temperature, and the diagonal."""
    ways = [("before", "c1"), ("after", "c2")]
    lines = [Line(text(lang, "reliability_ideal"), [(0.5, 0.5), (1.0, 1.0)], "c4")]
    for way, css in ways:
        if way in report["calibration"]:
            bins = report["calibration"][way]["bins"]
            points = [(float(one["confidence"]), float(one["accuracy"])) for one in bins]
            lines.append(Line(text(lang, f"reliability_{way}"), points, css))
    title = f"{text(lang, 'reliability')} · {set_name(name, lang)}"
    chart = line_chart(lines, label=title, domain=(0.0, 1.0), percent=True)
    return el("div", el("h3", title), chart, class_="card")


def _bins(sets: Mapping[str, Any], lang: Lang) -> Markup:
    columns = ("pairs", "bin", "n", "confidence", "accuracy")
    head = el("tr", [el("th", text(lang, f"reward_col_{column}")) for column in columns])
    rows = [
        el("tr", [el("td", cell) for cell in (
            set_name(name, lang), f"{one['low']:.2f} – {one['high']:.2f}", str(one["n"]),
            f"{one['confidence']:.3f}", f"{one['accuracy']:.3f}")])
        for name, report in sets.items()
        for one in report["calibration"]["before"]["bins"]
    ]  # fmt: skip
    return el("div", el("table", head, rows), class_="scroll")


def _temperature(details: Mapping[str, Any], lang: Lang) -> str:
    value = details.get("temperature")
    if value is None:
        return text(lang, "no_temperature")
    return text(lang, "temperature_note", value=f"{value:.2f}")


def _best_of_n(details: Mapping[str, Any], lang: Lang) -> Markup | None:
    best = details.get("best_of_n")
    if not best:
        return None
    shown = {key: f"{best[key]['value']:+.3f}" for key in ("picked", "average", "best")}
    return el("p", text(lang, "best_of_n", n=best["n"], **shown))


def _refresh(details: Mapping[str, Any], lang: Lang) -> Markup | None:
    refresh = details.get("refresh")
    if not refresh:
        return None
    figure = refresh["accuracy"]
    key = "refresh_unmeasured" if not figure else (
        "refresh_kept" if refresh["kept"] else "refresh_trained"
    )  # fmt: skip
    accuracy = _with_interval(figure)
    return el(
        "p",
        text(lang, key, model=refresh["model"], accuracy=accuracy, bound=f"{refresh['bound']:g}"),
    )
