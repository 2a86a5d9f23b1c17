"""What a run took in the report: rounds, time, tokens, money, and its data by tier."""

from __future__ import annotations

from burnish.reporting.charts import short
from burnish.reporting.markup import Markup, el
from burnish.reporting.names import duration, show, size
from burnish.reporting.plots import Share, shares
from burnish.reporting.rundata import Row, RunData
from burnish.reporting.strings import Lang, text

TIERS = ("expert", "selected", "bulk")


def facts(run: RunData, lang: Lang) -> list[tuple[str, str]]:
    """The run's plain facts, name and value."""
    summary = run.summary
    found = [
        ("recipe", str(summary.get("recipe", ""))),
        ("run", str(summary.get("run", run.folder.name))),
        ("rounds", str(len(summary.get("verdicts", [])))),
        ("stages", str(len(summary.get("stages", [])))),
    ]
    if "wall_seconds" in summary:
        found.append(("wall", duration(summary["wall_seconds"])))
    if "peak_rss_bytes" in summary:
        found.append(("memory", size(summary["peak_rss_bytes"])))
    return [(text(lang, f"fact_{name}"), value) for name, value in found + _spent(summary)]


def _spent(summary: Row) -> list[tuple[str, str]]:
    """Tokens by what they were spent on; money where a served model has a price."""
    spent = summary.get("spent") or {}
    found = [
        (name, short(spent[f"{name}_tokens"]))
        for name in ("trained", "sampled")
        if spent.get(f"{name}_tokens")
    ]
    served = sum(reply for _, reply in (spent.get("served_tokens") or {}).values())
    found += [("served", short(served))] if served else []
    return found + ([("money", f"{spent['money']:.4g}")] if spent.get("money") else [])


def tiers(run: RunData, lang: Lang) -> Markup | None:
    """The data of the last mix by tier beside what was asked for, and what machines wrote."""
    mixes = [
        (label, record)
        for label, record in run.details.items()
        if record.get("stage") == "curate.mix" and record.get("details", {}).get("after")
    ]
    if not mixes:
        return None
    label, record = max(mixes, key=lambda item: int(item[1].get("sequence") or 0))
    found = record["details"]["after"]
    rows = [
        Share(text(lang, f"tier_{tier}"), int(found["counts"][tier]),
              (float(found["wanted"][tier]),) * 2)
        for tier in TIERS
        if tier in found["counts"]
    ]  # fmt: skip
    said = text(lang, "tiers_synthetic", share=show(float(found["synthetic"]), "share"))
    whole = sum(row.count for row in rows)
    drawn = shares(rows, whole, target=text(lang, "tiers_target"))
    title = text(lang, "tiers", label=label, count=f"{whole:,}")
    return el("div", el("h3", title), drawn, el("p", said), class_="card")
