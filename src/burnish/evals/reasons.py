"""The gate's reasons as one sentence each, in English and Chinese."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.evals.savings import Saving
from burnish.evals.statistics import Comparison


@dataclass(frozen=True)
class Reason:
    """One sentence in two languages."""

    en: str
    zh: str


def constant(reply: str, share: float, accepted: float) -> Reason:
    """The candidate says one thing whatever it is asked."""
    shown = reply.strip()[:40]
    return Reason(
        f"Champion kept: the candidate gives {share:.0%} of all conversations the same reply "
        f"(“{shown}”), more than the accepted {accepted:.0%}.",
        f"保留现任：候选模型对 {share:.0%} 的对话给出同一回复（“{shown}”），"
        f"超过可接受的 {accepted:.0%}。",
    )


def promoted(gain: Comparison, guards: int) -> Reason:
    """The target rose and every guard held."""
    held, held_zh = _held(guards)
    return Reason(
        f"Promoted: the target changed by {_span(gain)}, one-sided {_p(gain.p_value)}, "
        f"{gain.n} pairs, and {held}.",
        f"晋升：目标变化 {_span_zh(gain)}，单侧 {_p(gain.p_value)}，共 {gain.n} 对，{held_zh}。",
    )


def cheaper(saved: Sequence[Saving], guards: int) -> Reason:
    """Every factor was reached and every guard held."""
    held, held_zh = _held(guards)
    return Reason(
        f"Promoted: {_listed(saved)}, and {held}.", f"晋升：{_listed_zh(saved)}，{held_zh}。"
    )


def not_cheaper(one: Saving) -> Reason:
    """A factor is significantly below what was asked for."""
    return Reason(
        f"Champion kept: {_factor(one)}, which is less.",
        f"保留现任：{_factor_zh(one)}，未达到。",
    )


def unclear_saving(one: Saving) -> Reason:
    """A factor is neither shown to be reached nor shown to be missed."""
    return Reason(
        f"Undecided: {_factor(one)}, neither shown nor ruled out by {one.turns} turns.",
        f"未定：{_factor_zh(one)}，{one.turns} 次计时既未证实也未排除。",
    )


def _held(guards: int) -> tuple[str, str]:
    if not guards:
        return "no guard was set", "未设护栏"
    held = "the guard held" if guards == 1 else f"all {guards} guards held"
    return held, f"{guards} 项护栏全部守住"


def _listed(saved: Sequence[Saving]) -> str:
    return "; ".join(_factor(one) for one in saved)


def _listed_zh(saved: Sequence[Saving]) -> str:
    return "；".join(_factor_zh(one) for one in saved)


def _factor(one: Saving) -> str:
    span = "" if one.low == one.high else f"95 % interval ×{one.low:.3g} to ×{one.high:.3g}; "
    return f"{one.figure} improved ×{one.factor:.3g} ({span}×{one.asked:g} asked)"


def _factor_zh(one: Saving) -> str:
    span = "" if one.low == one.high else f"95 % 区间 ×{one.low:.3g} 至 ×{one.high:.3g}；"
    return f"{one.figure} 改善 ×{one.factor:.3g}（{span}要求 ×{one.asked:g}）"


def guard_failed(metric: str, change: Comparison, margin: float | None) -> Reason:
    """A guard fell significantly beyond its margin."""
    return Reason(
        f"Champion kept: {metric} changed by {_span(change)}, a fall significantly beyond the "
        f"accepted {margin or 0:g}.",
        f"保留现任：{metric} 变化 {_span_zh(change)}，显著超出可接受的降幅 {margin or 0:g}。",
    )


def lost(metric: str, change: Comparison, margin: float) -> Reason:
    """An export lost more than its margin."""
    return Reason(
        f"Unfit: {metric} changed by {_span(change)}, a loss of more than the accepted {margin:g}.",
        f"不可发布：{metric} 变化 {_span_zh(change)}，损失超过可接受的 {margin:g}。",
    )


def no_saving(one: Saving) -> Reason:
    """An export is not as cheap as was asked for."""
    return Reason(
        f"Unfit: {_factor(one)}, which is less.", f"不可发布：{_factor_zh(one)}，未达到。"
    )


def unclear_loss(
    metric: str, change: Comparison, margin: float | None, items: int | None
) -> Reason:
    """Too few items to say that an export kept within its margin."""
    if margin is None:
        return Reason(
            f"Undecided: no margin is set for what was measured, such as {metric}.",
            f"未定：所测指标（如 {metric}）均未设容许损失。",
        )
    more = f"; about {items} would show it" if items else ""
    more_zh = f"；约需 {items} 题才能判定" if items else ""
    return Reason(
        f"Undecided: {metric} changed by {_span(change)}; {change.n} items do not rule out a loss "
        f"of {margin:g}{more}.",
        f"未定：{metric} 变化 {_span_zh(change)}；"
        f"{change.n} 题不足以排除 {margin:g} 的损失{more_zh}。",
    )


def kept_within(metrics: int, saved: Sequence[Saving]) -> Reason:
    """Every metric of an export held, and every factor was reached."""
    held = "1 metric lost" if metrics == 1 else f"each of {metrics} metrics lost"
    and_, and_zh = (f"; {_listed(saved)}", f"；{_listed_zh(saved)}") if saved else ("", "")
    return Reason(
        f"Fit to release: {held} less than its margin{and_}.",
        f"可以发布：{metrics} 项指标的损失均在容许范围内{and_zh}。",
    )


def no_gain(gain: Comparison, asked: float, p: float) -> Reason:
    """The target's gain is significantly below what was asked for."""
    return Reason(
        f"Champion kept: the target changed by {_span(gain)}, significantly less than the gain "
        f"of {asked:g} asked for (one-sided {_p(p)}, {gain.n} pairs).",
        f"保留现任：目标变化 {_span_zh(gain)}，显著低于要求的增益 {asked:g}"
        f"（单侧 {_p(p)}，共 {gain.n} 对）。",
    )


def too_few(metric: str, change: Comparison, asked: int) -> Reason:
    """A metric has too few usable pairs."""
    return Reason(
        f"Undecided: {metric} has {change.n} usable pairs and {change.missing} with a missing "
        f"answer; at least {asked} usable and few missing ones are needed.",
        f"未定：{metric} 有 {change.n} 对可用、{change.missing} 对缺少回答；"
        f"至少需要 {asked} 对可用，且缺失要少。",
    )


def unclear_gain(gain: Comparison, asked: float, items: int | None) -> Reason:
    """The target's gain is neither shown nor ruled out."""
    return Reason(
        f"Undecided: the target changed by {_span(gain)}, one-sided {_p(gain.p_value)}; a "
        f"gain of {asked:g} is neither shown nor ruled out{_items(items)}.",
        f"未定：目标变化 {_span_zh(gain)}，单侧 {_p(gain.p_value)}；"
        f"增益 {asked:g} 既未证实也未排除{_items_zh(items)}。",
    )


def unclear_guard(
    metric: str, change: Comparison, margin: float | None, items: int | None, cheaper: bool
) -> Reason:
    """What was asked for is shown, but a guard's fall is not ruled out."""
    shown, shown_zh = "the target rose", "目标上升"
    if cheaper:
        shown, shown_zh = "the candidate is cheaper", "候选模型更省"
    return Reason(
        f"Undecided: {shown}, but {metric} changed by {_span(change)}, so that a fall of "
        f"{margin or 0:g} is not ruled out{_items(items)}.",
        f"未定：{shown_zh}，但 {metric} 变化 {_span_zh(change)}，"
        f"不能排除下降 {margin or 0:g}{_items_zh(items)}。",
    )


def _p(p: float) -> str:
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def _span(change: Comparison) -> str:
    return f"{change.difference:+.3f} (95 % interval {change.low:+.3f} to {change.high:+.3f})"


def _span_zh(change: Comparison) -> str:
    return f"{change.difference:+.3f}（95 % 区间 {change.low:+.3f} 至 {change.high:+.3f}）"


def _items(items: int | None) -> str:
    return f"; about {items:,} pairs would decide" if items else ""


def _items_zh(items: int | None) -> str:
    return f"；约需 {items:,} 对才能判定" if items else ""
