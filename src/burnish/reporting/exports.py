"""The page of ``export``: every form against its source, in English or Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.reporting.exportstrings import STRINGS, told
from burnish.reporting.html import SPRING, document, other_language, top_bar
from burnish.reporting.markup import Markup, el, join
from burnish.reporting.names import figure_name
from burnish.reporting.strings import Lang
from burnish.store.atomic import write_text

FILES: dict[Lang, str] = {"en": "exports.html", "zh": "exports.zh.html"}
COSTS = (
    "size_bytes", "general_ppl", "kl", "same_answers", "prefill_tokens_per_second",
    "decode_tokens_per_second", "peak_memory_bytes",
)  # fmt: skip
CSS = {"fit": "good", "unfit": "bad", "undecided": "flat",
       "held": "good", "lost": "bad", "unclear": "flat"}  # fmt: skip
TOP = 32
Row = Mapping[str, Any]


def write_pages(folder: Path, found: Row) -> None:
    """Write both languages' pages of what ``release.export`` found (its ``exports.json``)."""
    for lang, name in FILES.items():
        write_text(folder / name, render(found, lang))


def render(found: Row, lang: Lang = "en") -> str:
    """The page as one HTML document that needs nothing else."""
    exports = [row for row in found["rows"] if "decision" in row]
    fit = sum(row["decision"] == "fit" for row in exports)
    top = top_bar(told(lang, "theme"), SPRING, other_language(told(lang, "other"), FILES, lang))
    head = el(
        "header",
        el("span", told(lang, "title"), class_="badge"),
        el("h1", told(lang, "headline", model=found["model"], fit=fit, count=len(exports))),
        el("p", told(lang, "intro", alpha=found["policy"]["alpha"]), class_="lead"),
    )
    footer = el("footer", told(lang, "footer"))
    main = el("main", head, _measured(found, lang), _lost(exports, lang), footer, class_="wrap")
    title = f"{found['model']} · {told(lang, 'title')} · burnish"
    return document(title, join(top, main), lang)


def _measured(found: Row, lang: Lang) -> Markup:
    columns = [*COSTS, *found["tasks"]]
    head = el("tr", el("th", told(lang, "form")), el("th", told(lang, "verdict")),
              [el("th", _label(name, lang), class_="num") for name in columns])  # fmt: skip
    body = []
    for row in found["rows"]:
        decision = row.get("decision")
        verdict = el("td", told(lang, decision) if decision else "–", class_=CSS.get(decision))
        figures = [
            el("td", shown(name, row["figures"].get(name)), class_="num") for name in columns
        ]
        body.append(el("tr", el("td", row["form"]), verdict, figures))
    note = told(lang, "measured_note", top=TOP, threads=found["threads"])
    return el(
        "section",
        el("h2", told(lang, "measured")),
        el("p", note, class_="note"),
        el("div", el("table", head, body), class_="scroll"),
    )


def _lost(exports: list[Row], lang: Lang) -> Markup:
    columns = ("form", "metric", "change", "interval", "margin", "p", "verdict")
    head = el("tr", [el("th", told(lang, name)) for name in columns])
    body = []
    for row in exports:
        for loss in row["losses"]:
            change, state = loss["comparison"], loss["state"]
            cells = (
                row["form"], loss["metric"], number(change["difference"], "+.4f"),
                f"[{number(change['low'], '+.4f')}, {number(change['high'], '+.4f')}]",
                number(loss["margin"], "g"), number(loss["p_held"], ".3g"),
            )  # fmt: skip
            said = told(lang, "lost_state" if state == "lost" else state) if state else "–"
            body.append(el("tr", [el("td", cell) for cell in cells],
                           el("td", said, class_=CSS.get(state))))  # fmt: skip
    reasons = [
        el("p", f"{row['form']}: {row['reason_zh' if lang == 'zh' else 'reason']}")
        for row in exports
    ]
    return el(
        "section",
        el("h2", told(lang, "lost")),
        el("p", told(lang, "lost_note"), class_="note"),
        reasons,
        el("div", el("table", head, body), class_="scroll"),
    )


def _label(name: str, lang: Lang) -> str:
    return told(lang, name) if name in STRINGS else figure_name(name).label(lang)


def number(value: float | None, form: str) -> str:
    """A number that may be missing."""
    return "–" if value is None else format(value, form)


def shown(name: str, figure: Row | None) -> str:
    """A figure of an export with its interval, where it has one."""
    if figure is None:
        return "–"
    value, low, high = figure["value"], figure["low"], figure["high"]
    if name.endswith("bytes"):
        return f"{value / 1e6:.1f} MB"
    form = ".4f" if name == "kl" else ".3g"
    if low == high:
        return number(value, form)
    return f"{number(value, form)} [{number(low, form)}, {number(high, form)}]"
