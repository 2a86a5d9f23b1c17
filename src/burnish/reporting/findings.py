"""Key findings and recommendations, drawn from a run by stated rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from burnish.reporting.names import figure_name, show
from burnish.reporting.rundata import Change, Point, RunData
from burnish.reporting.strings import Lang, text

Tone = Literal["good", "bad", "flat"]

MAX_PPL_RATIO = 1.3
MAX_BENIGN_REFUSED = 0.06
MIN_ABSTAINED = 0.6
MAX_SOURCE_GAP = 0.1
MAX_WIDTH = 0.2


@dataclass(frozen=True)
class Finding:
    """One sentence of the report and whether it is good news."""

    text: str
    tone: Tone


def separated(before: Point, after: Point) -> bool:
    """The two 95 % intervals do not overlap."""
    return after.low > before.high or after.high < before.low


def tone_of(change: Change) -> Tone:
    """Better, worse, or no clear change, by the interval rule."""
    better = figure_name(change.name).better
    if not separated(change.before, change.after) or not better:
        return "flat"
    rose = change.after.value > change.before.value
    return "good" if rose == (better == "up") else "bad"


def findings(run: RunData, lang: Lang) -> list[Finding]:
    """What changed, what the gate said, what the ablation shows."""
    found = []
    unclear = []
    for change in run.changes:
        tone, name = tone_of(change), figure_name(change.name)
        before, after = (show(p.value, name.unit) for p in (change.before, change.after))
        values = {"name": name.label(lang), "before": before, "after": after}
        if tone == "flat":
            unclear.append(values["name"] if before == after else text(lang, "brief", **values))
        else:
            key = "found_better" if tone == "good" else "found_worse"
            found.append(Finding(text(lang, key, **values), tone))
    if unclear:
        names = ("、" if lang == "zh" else ", ").join(unclear)
        found.append(Finding(text(lang, "found_flat", names=names), "flat"))
    figures = run.figures
    without, full = (
        figures.get("knowledge_without_pretraining"),
        figures.get("knowledge_heldout_exact"),
    )
    if without and full and separated(without, full):
        sentence = text(lang, "found_without", value=show(without.value, "share"))
        found.append(Finding(sentence, "good"))
    verdicts = run.summary.get("verdicts", [])
    for verdict in verdicts:
        if not promoted(verdict) and verdict is not verdicts[-1]:
            continue  # every verdict is in the gate's own section
        tone = "good" if promoted(verdict) else "flat"
        sentence = text(
            lang, "found_gate", round=verdict.get("round", "?"), reason=reason(verdict, lang)
        )
        found.append(Finding(sentence, tone))
    return sorted(found, key=lambda finding: ("bad", "good", "flat").index(finding.tone))


def promoted(verdict: dict[str, object]) -> bool:
    """Whether a verdict made its candidate the champion."""
    return str(verdict.get("decision", "")).startswith("promot")


def reason(verdict: dict[str, object], lang: Lang) -> str:
    """A verdict's reason in one language, falling back to the other."""
    first, second = ("reason_zh", "reason") if lang == "zh" else ("reason", "reason_zh")
    return str(verdict.get(first) or verdict.get(second) or "")


def recommendations(run: RunData, lang: Lang) -> list[str]:
    """What to do next; each sentence comes from one rule over one figure."""
    figures, advice = run.figures, []

    def value(name: str) -> float | None:
        return figures[name].value if name in figures else None

    ratio, benign = value("general_ppl_ratio"), value("benign_refused")
    if ratio is not None and ratio > MAX_PPL_RATIO:
        advice.append(text(lang, "advise_replay", value=f"{ratio:.2f}"))
    if benign is not None and benign > MAX_BENIGN_REFUSED:
        advice.append(text(lang, "advise_contrast", value=show(benign, "share")))
    abstained = value("unknown_abstained")
    if abstained is not None and abstained < MIN_ABSTAINED:
        advice.append(text(lang, "advise_abstain", value=show(abstained, "share")))
    advice += [
        text(lang, "advise_confident")
        for change in run.changes
        if change.name == "confident_wrong" and change.after.value >= change.before.value
    ]
    random, left_out = value("reward_heldout_accuracy"), value("reward_left_out_accuracy")
    if random is not None and left_out is not None and random - left_out > MAX_SOURCE_GAP:
        advice.append(text(lang, "advise_source", gap=round((random - left_out) * 100)))
    advice += _wide(run, lang)
    verdicts = run.summary.get("verdicts", [])
    if verdicts and not promoted(verdicts[-1]):
        advice.append(_not_promoted(verdicts[-1], lang))
    return advice


def _not_promoted(verdict: dict[str, object], lang: Lang) -> str:
    """What to do about the last round: mend it, ask more items, or change the data."""
    round, items = verdict.get("round", "?"), verdict.get("items_needed")
    if verdict.get("decision") == "failed":
        return text(lang, "advise_failed", round=round, reason=reason(verdict, lang))
    if verdict.get("decision") == "undecided" and isinstance(items, int):
        return text(lang, "advise_items", round=round, items=f"{items:,}")
    return text(lang, "advise_kept")


def _wide(run: RunData, lang: Lang) -> list[str]:
    """The widest interval among rates, if it is too wide to act on."""
    shares = [
        (point.high - point.low, name)
        for name, point in run.figures.items()
        if figure_name(name).unit == "share"
    ]
    width, name = max(shares, default=(0.0, ""))
    if width <= MAX_WIDTH:
        return []
    label = figure_name(name).label(lang)
    return [text(lang, "advise_wide", name=label, width=round(width * 100))]
