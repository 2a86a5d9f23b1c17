"""The page about data: one self-contained HTML file, in English or Chinese."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from burnish.reporting.charts import short
from burnish.reporting.datastrings import named, said
from burnish.reporting.html import SPRING, document, top_bar
from burnish.reporting.markup import Markup, el, join
from burnish.reporting.plots import Dot, Histogram, Share, histogram, point_map, shares
from burnish.reporting.strings import Lang

TIERS = {"expert": (0.05, 0.05), "selected": (0.25, 0.25), "bulk": (0.7, 0.7)}
SYNTHETIC = (0.7, 0.8)
MOST_VALUES = 10
_COLOURS = ("c1", "c2", "c3", "c5")


@dataclass(frozen=True)
class Spread:
    """How numbers are distributed: bins, quantiles of 10, 50 and 90 %, mean, how many."""

    bins: Histogram
    low: float
    median: float
    high: float
    mean: float
    n: int


@dataclass(frozen=True)
class Duplicates:
    """Of ``sample`` records how many repeat another one, and groups: size and a text."""

    sample: int
    exact: int
    near: int
    groups: Sequence[tuple[int, str]]


@dataclass(frozen=True)
class Profile:
    """What is shown of data. ``counts`` maps a column to its values, most frequent first.

    ``coloured_by`` is the column that groups the dots of the map.
    """

    name: str
    files: int
    kinds: Mapping[str, int]
    records: int
    repeated: int
    bad: int
    totals: Mapping[str, int]
    lengths: Mapping[str, Spread]
    counts: Mapping[str, Mapping[str, int]]
    synthetic: int
    scores: Mapping[str, Spread]
    dots: Sequence[Dot] = ()
    coloured_by: str = ""
    duplicates: Duplicates | None = field(default=None)


def render(profile: Profile, lang: Lang = "en") -> str:
    """The page as one HTML document; all text of the data is escaped."""
    shown = sections(profile, lang)
    links = [el("a", said(lang, name), href=f"#{name}") for name in shown]
    body = join(
        top_bar(said(lang, "theme"), links, SPRING),
        el(
            "main",
            _header(profile, lang),
            [
                el("section", el("h2", said(lang, name)), body, id=name)
                for name, body in shown.items()
            ],
            el("footer", said(lang, "footer")),
            class_="wrap",
        ),
    )
    return document(f"{profile.name} · {said(lang, 'title')} · burnish", body, lang)


def sections(profile: Profile, lang: Lang) -> dict[str, Markup]:
    """The page's parts that have something to show, by the key of their heading."""
    parts = {
        "lengths": _lengths(profile, lang),
        "composition": _composition(profile, lang),
        "map": _map(profile, lang),
        "scores": _scores(profile, lang),
        "duplicates": _duplicates(profile, lang),
    }
    return {name: body for name, body in parts.items() if body}


def _header(profile: Profile, lang: Lang) -> Markup:
    facts = [("kinds", " · ".join(f"{kind} {count:,}" for kind, count in profile.kinds.items()))]
    facts += [(name, short(total)) for name, total in profile.totals.items()]
    facts += [("files", f"{profile.files:,}")] if profile.files > 1 else []
    facts += [("bad", f"{profile.bad:,}")] if profile.bad else []
    facts += [("repeated", f"{profile.repeated:,}")] if profile.repeated else []
    listed = [el("li", f"{said(lang, f'fact_{name}')} ", el("b", value)) for name, value in facts]
    return el(
        "header",
        el("span", profile.name, class_="badge"),
        el("h1", said(lang, "headline", count=f"{profile.records:,}")),
        el("p", said(lang, "intro"), class_="lead"),
        el("ul", listed, class_="facts"),
    )


def _card(title: str, *inner: Markup | None) -> Markup:
    return el("div", el("h3", title), *inner, class_="card")


def _lengths(profile: Profile, lang: Lang) -> Markup:
    cards = []
    for place, (name, spread) in enumerate(profile.lengths.items()):
        title = said(lang, name)
        facts = said(
            lang, "quantiles",
            median=short(spread.median), low=short(spread.low), high=short(spread.high),
        )  # fmt: skip
        chart = histogram(spread.bins, label=title, css=_COLOURS[place % len(_COLOURS)])
        cards.append(_card(title, chart, el("p", facts)))
    note = el("p", said(lang, "lengths_note"), class_="note")
    return join(note, el("div", cards, class_="grid")) if cards else Markup("")


def _composition(profile: Profile, lang: Lang) -> Markup:
    if not profile.records:
        return Markup("")
    target, whole = said(lang, "target"), profile.records
    tiers = profile.counts.get("tier", {})
    tier_rows = [Share(named(lang, n), tiers.get(n, 0), goal) for n, goal in TIERS.items()]
    written = [
        Share(said(lang, "machine"), profile.synthetic, SYNTHETIC),
        Share(said(lang, "people"), whole - profile.synthetic),
    ]
    cards = [
        _card(said(lang, "tier"), shares(tier_rows, whole, target=target)),
        _card(said(lang, "synthetic"), shares(written, whole, target=target)),
    ]
    for column in ("lang", "source", "task", "topic"):
        values = profile.counts.get(column, {})
        if values:
            cards.append(_card(said(lang, column), shares(_top(values, lang), whole, target="")))
    note = el("p", said(lang, "composition_note"), class_="note")
    return join(note, el("div", cards, class_="grid tops"))


def _top(values: Mapping[str, int], lang: Lang) -> list[Share]:
    """The most frequent values, and the others together."""
    listed = list(values.items())
    rows = [Share(named(lang, name), count) for name, count in listed[:MOST_VALUES]]
    rest = listed[MOST_VALUES:]
    if rest:
        name = said(lang, "others", count=f"{len(rest):,}")
        rows.append(Share(name, sum(count for _, count in rest)))
    return rows


def _map(profile: Profile, lang: Lang) -> Markup:
    title, column = said(lang, "map"), profile.coloured_by
    drawn = point_map(profile.dots, label=title, other=said(lang, "other"))
    if not drawn:
        return drawn
    note = said(
        lang, "map_note",
        shown=f"{len(profile.dots):,}", all=f"{profile.records:,}",
        field=said(lang, column).lower(),
    )  # fmt: skip
    return join(el("p", note, class_="note"), el("div", drawn, class_="card"))


def _scores(profile: Profile, lang: Lang) -> Markup:
    cards = []
    for place, (name, spread) in enumerate(profile.scores.items()):
        facts = said(lang, "score_facts", mean=short(spread.mean), n=f"{spread.n:,}")
        chart = histogram(spread.bins, label=name, css=_COLOURS[place % len(_COLOURS)])
        cards.append(_card(name, chart, el("p", facts)))
    note = el("p", said(lang, "scores_note"), class_="note")
    return join(note, el("div", cards, class_="grid")) if cards else Markup("")


def _duplicates(profile: Profile, lang: Lang) -> Markup:
    found = profile.duplicates
    if found is None or not found.sample:
        return Markup("")
    note = said(
        lang, "duplicates_note", all=f"{profile.records:,}", sample=f"{found.sample:,}"
    )  # fmt: skip
    rows = [Share(said(lang, "exact"), found.exact), Share(said(lang, "near"), found.near)]
    groups = [
        el("tr", el("td", said(lang, "group_size", count=size), class_="num"),
           el("td", text, class_="reply"))
        for size, text in found.groups
    ]  # fmt: skip
    twins = el("div", el("table", groups), class_="scroll") if groups else None
    return join(
        el("p", note, class_="note"),
        el("div", shares(rows, found.sample, target=""), class_="card"),
        el("details", el("summary", said(lang, "twins")), twins) if twins else None,
    )
