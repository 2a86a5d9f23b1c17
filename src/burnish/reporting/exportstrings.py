"""Every sentence of the page about exports, English and Chinese side by side."""

from __future__ import annotations

from burnish.reporting.strings import LANGUAGES, Lang

STRINGS: dict[str, tuple[str, str]] = {
    "title": ("Exports", "导出"),
    "headline": ("{model}: {fit} of {count} exports fit to release",
                 "{model}：{count} 个导出中 {fit} 个可以发布"),
    "intro": (
        "Each export was loaded by the runtime it is for and asked the same items as the source "
        "model, greedily. It is fit where a loss of the margin or more is ruled out at {alpha}.",
        "每个导出都由其目标运行时加载，以贪心解码回答与源模型相同的题目。"
        "在 {alpha} 水平上排除了达到容许值的损失，才可发布。",
    ),
    "other": ("中文", "English"),
    "theme": ("Light / dark", "浅色 / 深色"),
    "measured": ("As measured", "测量结果"),
    "measured_note": (
        "With 95 % intervals. KL: divergence from the source a token, in nats, over the {top} "
        "likeliest tokens. Speed: one stream on {threads} thread(s). Memory: the runtime's whole "
        "process.",
        "附 95 % 区间。KL：每词元相对源模型的散度（纳特），按最可能的 {top} 个词元计算。"
        "速度：单路，{threads} 线程。内存：运行时整个进程。",
    ),
    "lost": ("What was lost", "损失"),
    "lost_note": (
        "Export less source, paired by item; below 0 is a loss. tasks is the items of all of them, "
        "general the log-probability of held-out text in nats a token.",
        "导出减源模型，逐题配对；小于 0 为损失。tasks 为全部任务的题目，"
        "general 为留出文本每词元的对数概率（纳特）。",
    ),
    "form": ("form", "形式"),
    "size_bytes": ("size", "大小"),
    "general_ppl": ("perplexity", "困惑度"),
    "kl": ("KL", "KL"),
    "same_answers": ("same replies", "回复一致"),
    "decode_tokens_per_second": ("decode tokens/s", "解码 词元/秒"),
    "prefill_tokens_per_second": ("prompt tokens/s", "读入 词元/秒"),
    "peak_memory_bytes": ("memory", "内存"),
    "verdict": ("verdict", "判定"),
    "metric": ("metric", "指标"),
    "change": ("change", "变化"),
    "interval": ("95 % interval", "95 % 区间"),
    "margin": ("margin", "容许损失"),
    "p": ("p", "p"),
    "fit": ("fit", "可发布"),
    "unfit": ("unfit", "不可发布"),
    "undecided": ("undecided", "未定"),
    "held": ("held", "守住"),
    "unclear": ("unclear", "不明"),
    "lost_state": ("lost", "超出"),
    "footer": ("Written by burnish export.", "由 burnish export 生成。"),
}  # fmt: skip


def told(lang: Lang, key: str, **values: object) -> str:
    """The sentence ``key`` in ``lang`` with its values filled in."""
    return STRINGS[key][LANGUAGES.index(lang)].format(**values)
