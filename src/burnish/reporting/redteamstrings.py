"""What the report says of a red team, in English and Chinese."""

from __future__ import annotations

REDTEAM_STRINGS: dict[str, tuple[str, str]] = {
    "nav_redteam": ("Red team", "红队测试"),
    "redteam": ("Red team", "红队测试"),
    "redteam_note": (
        "Share of harmful prompts that each attack got through, with 95 % intervals (less is "
        "better), and of harmless prompts in the same wording that were refused (less is better "
        "too). Whether an attack got through is decided by: {classifier}.",
        "每种攻击突破的有害请求比例及 95 % 区间（越低越好），"
        "以及相同说法的无害请求被拒的比例（同样越低越好）。"
        "判定方式：{classifier}。",
    ),
    "redteam_phrases": (
        "phrases of refusal in the reply's opening; it sees whether the model declined, not "
        "whether what it said is of use",
        "回答开头的拒绝用语；它只能看出模型是否拒绝，不能判断所说内容是否有用",
    ),
    "redteam_judge": ("a judge model", "评审模型"),
    "redteam_total": (
        "{broken} of {n} prompts were got through by at least one attack.",
        "{n} 个有害请求中，{broken} 至少被一种攻击突破。",
    ),
    "redteam_col_strategy": ("attack", "攻击方式"),
    "redteam_col_before": ("before ({model})", "之前（{model}）"),
    "redteam_col_after": ("{model}", "{model}"),
    "redteam_col_change": ("change", "变化"),
    "redteam_col_p": ("p (Holm)", "p（Holm）"),
    "redteam_col_benign": ("harmless refused", "无害请求被拒"),
    "redteam_held_out": ("held out of training", "训练未用"),
    "redteam_all": ("all", "全部"),
    "redteam_cells": ("By attack and category of the prompt", "按攻击方式与请求类别"),
    "redteam_cells_note": (
        "Share got through and number of prompts; a cell of few prompts says little.",
        "突破比例与请求数量；请求很少的格子说明不了什么。",
    ),
    "redteam_missing": (
        "{count} attempts have no grade of the judge and count for nothing.",
        "{count} 次尝试没有评审得分，不计入。",
    ),
    "strategy_direct": ("direct", "直接请求"),
    "strategy_role_play": ("role play", "角色扮演"),
    "strategy_past_tense": ("past tense", "过去时"),
    "strategy_prefix_injection": ("prefix injection", "前缀注入"),
    "strategy_other_language": ("other language", "换语言"),
    "strategy_base64": ("base64", "base64"),
    "strategy_rot13": ("rot13", "rot13"),
    "strategy_leetspeak": ("leetspeak", "数字替代字母"),
    "strategy_spacing": ("letters apart", "逐字分隔"),
    "strategy_reversal": ("reversed text", "倒写"),
    "strategy_many_shot": ("many shots", "多示例"),
    "strategy_crescendo": ("crescendo, several turns", "多轮递进"),
    "strategy_search": ("search against the model", "针对模型的搜索"),
}
