"""The report: one HTML file that needs nothing else, in English or Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from burnish.reporting import evidence, optimisation, overview, redteam, refusals, rewards, training
from burnish.reporting.consistency import consistency
from burnish.reporting.lineage import lineage
from burnish.reporting.markup import Child, Markup, el, join, raw
from burnish.reporting.rundata import RunData, read_run
from burnish.reporting.strings import Lang, text
from burnish.store.atomic import write_text

FILES: dict[Lang, str] = {"en": "report.html", "zh": "report.zh.html"}
NAVIGATION = (
    "findings", "figures", "trend", "refusals", "redteam", "pipeline", "curves", "optimisation",
    "data", "reward", "answers", "gate", "consistency", "lineage",
)  # fmt: skip
THEME_SCRIPT = (
    "document.querySelector('.theme').onclick=function(){var r=document.documentElement,"
    "d=r.dataset.theme?r.dataset.theme==='dark':matchMedia('(prefers-color-scheme: dark)').matches;"
    "r.dataset.theme=d?'light':'dark'}"
)

SPRING = el("span", class_="spring")
"""In a bar: what comes after it stands at the end."""


def render(run_folder: Path, lang: Lang = "en") -> str:
    """The report of a run as one self-contained HTML document.

    Args:
        run_folder: holds ``summary.json`` and, where they exist, ``metrics.jsonl``,
            ``recipe.yaml`` and ``artifacts/``.
        lang: ``"en"`` or ``"zh"``.

    Raises:
        InputError: there is no readable ``summary.json``.
    """
    run = read_run(run_folder)
    sections = [
        overview.key_findings(run, lang),
        overview.cards(run, lang),
        overview.trend(run, lang),
        refusals.section(run, lang),
        redteam.section(run, lang),
        training.pipeline(run, lang),
        training.curves(run, lang),
        optimisation.optimisation(run, lang),
        training.funnels(run.details, lang),
        rewards.reward(run, lang),
        evidence.answers(run, lang),
        evidence.gate(run, lang),
        consistency(run, lang),
        evidence.notes(run, lang),
        lineage(run, lang),
        evidence.reproduce(run, lang),
        evidence.all_figures(run, lang),
    ]
    body = join(
        _navigation(run, [str(section) for section in sections], lang),
        el("main", overview.header(run, lang), sections, _footer(lang), class_="wrap"),
    )
    title = f"{run.summary.get('run', run.folder.name)} · {text(lang, 'title')} · burnish"
    return document(title, body, lang)


def write_reports(run_folder: Path) -> Path:
    """Write ``report.html`` and ``report.zh.html``; returns the path of the English one."""
    for lang, name in FILES.items():
        write_text(run_folder / name, render(run_folder, lang))
    return run_folder / FILES["en"]


def document(title: str, body: Markup, lang: Lang) -> str:
    """A whole page with the report's look and the switch between light and dark."""
    css = resources.files("burnish.reporting").joinpath("report.css").read_text(encoding="utf-8")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", raw(css)),
    )
    shown = el("body", body, el("script", raw(THEME_SCRIPT)))
    return "<!doctype html>\n" + el("html", head, shown, lang=lang)


def top_bar(theme: str, *parts: Child) -> Markup:
    """The bar above a page: ``parts`` between the brand and the switch called ``theme``."""
    brand = el("span", "burnish", class_="brand")
    switch = el("button", theme, class_="theme", type="button")
    return el("nav", el("div", brand, parts, switch, class_="wrap"))


def other_language(word: str, files: Mapping[Lang, str], lang: Lang) -> Markup:
    """The link from a page in ``lang`` to the same page in the other language."""
    other: Lang = "en" if lang == "zh" else "zh"
    return el("a", word, href=files[other], hreflang=other)


def _navigation(run: RunData, sections: list[str], lang: Lang) -> Markup:
    written = "".join(sections)
    links = [
        el("a", text(lang, f"nav_{name}"), href=f"#{name}")
        for name in NAVIGATION
        if f'id="{name}"' in written
    ]
    other = other_language(text(lang, "other_language"), FILES, lang)
    return top_bar(text(lang, "theme"), el("div", links, class_="links"), other)


def _footer(lang: Lang) -> Markup:
    try:
        number = version("burnish")
    except PackageNotFoundError:  # run from a source tree that is not installed
        number = "(source)"
    return el("footer", text(lang, "footer", version=number))
