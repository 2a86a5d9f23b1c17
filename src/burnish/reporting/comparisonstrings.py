"""Every sentence of the comparison page, English and Chinese side by side."""

from __future__ import annotations

from burnish.reporting.strings import LANGUAGES, Lang

STRINGS: dict[str, tuple[str, str]] = {
    "title": ("Comparison", "模型对比"),
    "headline": ("{count} models on {metrics} metrics", "{count} 个模型，{metrics} 项指标"),
    "intro": (
        "Every model is compared with {first} on the same items. A metric improved or regressed "
        "where its paired test says so at {alpha}, corrected over all metrics and models (Holm); "
        "everything else is noise. Changes are turned so that above 0 is better.",
        "所有模型都在相同题目上与 {first} 对比。经全部指标与模型的 Holm 校正后，"
        "配对检验在 {alpha} 水平显著才算提升或下降，其余均为噪声。变化的方向统一为大于 0 更好。",
    ),
    "theme": ("Light / dark", "浅色 / 深色"),
    "other": ("中文", "English"),
    "against": ("{model} against {first}", "{model} 对比 {first}"),
    "counts": (
        "{improved} improved, {regressed} regressed, {noise} noise",
        "提升 {improved} 项，下降 {regressed} 项，噪声 {noise} 项",
    ),
    "col_metric": ("metric", "指标"),
    "col_change": ("better by", "变化"),
    "col_interval": ("95 % interval", "95 % 区间"),
    "col_p": ("p (Holm)", "p（Holm）"),
    "col_effect": ("effect size", "效应量"),
    "col_detectable": ("detectable", "可检出"),
    "col_n": ("items", "题数"),
    "col_state": ("", ""),
    "detectable_note": (
        "Detectable: the true change that these items find with a power of 80 %, before the "
        "correction. A smaller one is more likely missed than not seen to be absent.",
        "可检出：在校正前，这些题目以 80 % 的功效能发现的真实变化。"
        "更小的变化多半会被漏掉，并不等于不存在。",
    ),
    "improved": ("improved", "提升"),
    "regressed": ("regressed", "下降"),
    "noise": ("noise", "噪声"),
    "all": ("All figures", "全部数值"),
    "all_note": (
        "As measured, with 95 % intervals; figures without items to pair, such as speed, stand "
        "here only.",
        "原始测量值及 95 % 区间；无法逐题配对的数值（如速度）仅列于此。",
    ),
    "capability": ("capability", "能力"),
    "alignment": ("alignment", "对齐"),
    "safety": ("safety", "安全"),
    "efficiency": ("efficiency", "效率"),
    "duels": ("Head to head", "两两对决"),
    "duels_note": (
        "Replies to the same conversations, decided by a {decider}; a tie is half a win. "
        "Controlled: what is expected at equal lengths of replies.",
        "对相同对话的回答由{decider}裁定，平局算半胜。长度控制：回答等长时的预期胜率。",
    ),
    "judge": ("judge", "评审模型"),
    "reward model": ("reward model", "奖励模型"),
    "wins": ("wins of {model}", "{model} 的胜率"),
    "raw": ("win rate", "胜率"),
    "controlled": ("length-controlled", "长度控制胜率"),
    "tally": ("won / tied / lost", "胜 / 平 / 负"),
    "missing": ("no verdict", "无裁定"),
    "even": ("even", "持平"),
    "rating": ("Bradley–Terry rating", "Bradley–Terry 评分"),
    "leagues": (
        "No games connect these groups both ways, so that ratings of one do not compare with "
        "those of another: {leagues}.",
        "以下各组之间没有双向胜负相连，组间评分不可比较：{leagues}。",
    ),
    "footer": ("Written by burnish compare.", "由 burnish compare 生成。"),
}  # fmt: skip


def told(lang: Lang, key: str, **values: object) -> str:
    """The sentence ``key`` in ``lang`` with its values filled in."""
    return STRINGS[key][LANGUAGES.index(lang)].format(**values)
