"""What an alarm of a fit says, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.reporting.strings import Lang

SENTENCES: dict[str, tuple[str, str]] = {
    "entropy": (
        "Phase {phase}: entropy fell to {value:.3g} nats a token, below {limit:.3g}: the policy "
        "says ever the same. Raise entropy_coef or kl_coef, or lower the learning rate.",
        "第 {phase} 阶段：熵降至每词元 {value:.3g} 纳特，低于 {limit:.3g}：策略趋于重复同样的回答。"
        "请提高 entropy_coef 或 kl_coef，或降低学习率。",
    ),
    "longer": (
        "Phase {phase}: replies grew to {value:.4g} tokens, above {limit:.4g}. Check that the "
        "reward does not pay for length.",
        "第 {phase} 阶段：回答增至 {value:.4g} 个词元，超过 {limit:.4g}。请检查奖励是否偏爱长度。",
    ),
    "shorter": (
        "Phase {phase}: replies shrank to {value:.4g} tokens, below {limit:.4g}. Check that the "
        "reward does not pay for brevity.",
        "第 {phase} 阶段：回答缩至 {value:.4g} 个词元，低于 {limit:.4g}。请检查奖励是否偏爱简短。",
    ),
    "kl": (
        "Phase {phase}: the divergence from the reference leapt to {value:.3g} nats a reply, above "
        "{limit:.3g}. Lower the learning rate, or raise kl_coef.",
        "第 {phase} 阶段：与参考模型的散度骤增至每个回答 {value:.3g} 纳特，超过 {limit:.3g}。"
        "请降低学习率或提高 kl_coef。",
    ),
    "clip_fraction": (
        "Phase {phase}: the clip took the gradient from {value:.0%} of a step's tokens, above "
        "{limit:.0%}. Lower the learning rate or train.epochs.",
        "第 {phase} 阶段：某一步中 {value:.0%} 的词元被裁剪，超过 {limit:.0%}。"
        "请降低学习率或 train.epochs。",
    ),
    "explained_variance": (
        "Phase {phase}: the critic explains {value:.2f} of the returns' variance, below "
        "{limit:.2f}: its advantages are noise. Raise critic.rate or critic.coef, "
        "or give it its own trunk.",
        "第 {phase} 阶段：评论家只解释了回报方差的 {value:.2f}，低于 {limit:.2f}："
        "优势估计近于噪声。"
        "请提高 critic.rate 或 critic.coef，或让其使用独立主干。",
    ),
    "constant": (
        "Phase {phase}: every reply had the reward {value:.4g}: there is nothing to learn from. "
        "Check the reward, or use harder or easier prompts.",
        "第 {phase} 阶段：所有回答的奖励都是 {value:.4g}，无从学习。请检查奖励，或调整提示难度。",
    ),
    "flat": (
        "Phase {phase}: for {value:.0%} of the prompts all replies had the same reward: there is "
        "little to compare. Raise the temperature or online.per_prompt.",
        "第 {phase} 阶段：{value:.0%} 的提示下所有回答奖励相同，几乎无可比较。"
        "请提高温度或 online.per_prompt。",
    ),
    "budget": (
        "Phase {phase}: with lambda at its maximum replies still cost {value:.4g}, above the "
        "budget of {limit:.4g}: it cannot be met this way. Raise constraint.budget or "
        "constraint.maximum.",
        "第 {phase} 阶段：乘子 λ 已达上限，代价仍为 {value:.4g}，超出预算 {limit:.4g}："
        "如此无法满足预算。"
        "请提高 constraint.budget 或 constraint.maximum。",
    ),
    "max_kl": (
        "Phase {phase}: the divergence from the reference came to {value:.3g} nats a reply, past "
        "max_kl of {limit:.3g}: training ended and went back to the last good weights.",
        "第 {phase} 阶段：与参考模型的散度达每个回答 {value:.3g} 纳特，超过 max_kl {limit:.3g}："
        "训练结束并回退到最后的良好权重。",
    ),
    "collapsed": (
        "Layer {layer}: expert {expert} gets {value:.1%} of an even share of the tokens, under "
        "{limit:.0%}: it has collapsed. Raise balance, or begin the router with other texts.",
        "第 {layer} 层：专家 {expert} 只得到平均份额的 {value:.1%}，低于 {limit:.0%}："
        "该专家已塌缩。"
        "请提高 balance，或用其他文本初始化路由器。",
    ),
    "over_optimised": (
        "Phase {phase}: the reward went on rising while held-out judges fell by {value:.3g} since "
        "their best point: the policy learnt the reward, not what it stands for.",
        "第 {phase} 阶段：奖励仍在上升，而留出评判自最佳点起下降 {value:.3g}："
        "策略学到的是奖励本身，而非其所代表的目标。",
    ),
}


def sentence(alarm: Mapping[str, Any], lang: Lang) -> str:
    """An alarm as a sentence that says what to do; one of an unknown kind is shown as it is."""
    known = SENTENCES.get(str(alarm.get("kind")))
    if known is None:
        return ", ".join(f"{name}: {value}" for name, value in alarm.items())
    return known[lang == "zh"].format(**alarm)
