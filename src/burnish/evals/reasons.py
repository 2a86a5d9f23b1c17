"""The gate's reasons as one sentence each, in English and Chinese."""

from __future__ import annotations

from dataclasses import dataclass

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
    held = "no guard was set"
    if guards:
        held = "the guard held" if guards == 1 else f"all {guards} guards held"
    held_zh = f"{guards} 项护栏全部守住" if guards else "未设护栏"
    return Reason(
        f"Promoted: the target changed by {_span(gain)}, one-sided {_p(gain.p_value)}, "
        f"{gain.n} pairs, and {held}.",
        f"晋升：目标变化 {_span_zh(gain)}，单侧 {_p(gain.p_value)}，共 {gain.n} 对，{held_zh}。",
    )


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


def kept_within(metrics: int) -> Reason:
    """Every metric of an export held."""
    held = "1 metric lost" if metrics == 1 else f"each of {metrics} metrics lost"
    return Reason(
        f"Fit to release: {held} less than its margin.",
        f"可以发布：{metrics} 项指标的损失均在容许范围内。",
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
    metric: str, change: Comparison, margin: float | None, items: int | None
) -> Reason:
    """The target rose, but a guard's fall is not ruled out."""
    return Reason(
        f"Undecided: the target rose, but {metric} changed by {_span(change)}, so that a fall of "
        f"{margin or 0:g} is not ruled out{_items(items)}.",
        f"未定：目标上升，但 {metric} 变化 {_span_zh(change)}，"
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
