"""What the report says of a run as a whole: what it took, its dimensions, its lineage."""

from __future__ import annotations

RUN_STRINGS: dict[str, tuple[str, str]] = {
    "fact_wall": ("wall time", "总耗时"),
    "fact_memory": ("peak memory", "内存峰值"),
    "fact_stages": ("stages", "阶段数"),
    "fact_rounds": ("rounds judged", "已评判轮数"),
    "fact_trained": ("tokens trained on", "训练词元"),
    "fact_sampled": ("tokens sampled", "采样词元"),
    "fact_served": ("tokens of served models", "外部模型词元"),
    "fact_money": ("cost", "费用"),
    "tiers": ("Data by tier · {label} · {count} records", "数据层级 · {label} · {count} 条"),
    "tiers_target": ("target", "目标"),
    "tiers_synthetic": ("{share} written by machines.", "其中 {share} 为机器生成。"),
    "tier_expert": ("expert", "专家"),
    "tier_selected": ("selected", "精选"),
    "tier_bulk": ("bulk", "基础"),
    "dimension_capability": ("Capability", "能力"),
    "dimension_alignment": ("Alignment", "对齐"),
    "dimension_safety": ("Safety", "安全"),
    "dimension_efficiency": ("Efficiency", "效率"),
    "dimension_": ("Other", "其他"),
    "col_dimension": ("dimension", "维度"),
    "col_was": ("before", "训练前"),
    "col_now": ("after", "训练后"),
    "points": ("{arrow} {value} points", "{arrow} {value} 个百分点"),
    "candidate": ("candidate", "候选"),
    "champion": ("champion", "冠军"),
    "all_artifacts": ("All {count} artifacts", "全部 {count} 个产物"),
    "kind_model": ("model", "模型"),
    "kind_data": ("data", "数据"),
    "kind_report": ("report", "报告"),
    "kind_reward_model": ("reward model", "奖励模型"),
    "comparisons_of": ("The comparisons of round {round}", "第 {round} 轮的比较"),
    "over_kl_noise": (
        "By step of training, unsmoothed; with held-out prompts to watch, it is drawn for those.",
        "按训练步绘制，未作平滑；若设有留出监测提示，则改用留出提示绘制。",
    ),
    "reward_over_kl": ("{stage} · reward over √KL", "{stage} · 奖励与 √KL"),
    "advise_items": (
        "Round {round} is undecided on these items: about {items} pairs would decide it. Evaluate "
        "on fresh items, once.",
        "现有题目无法判定第 {round} 轮：约需 {items} 对题目。请换用新题目评测，且只评一次。",
    ),
    "advise_failed": (
        "Round {round} failed: {reason} Fix the cause and run the same command again.",
        "第 {round} 轮失败：{reason}请排除原因后重新运行同一命令。",
    ),
}
