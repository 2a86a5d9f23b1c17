"""Every sentence of the report, English and Chinese side by side."""

from __future__ import annotations

from typing import Literal

from burnish.reporting.redteamstrings import REDTEAM_STRINGS
from burnish.reporting.rewardstrings import REWARD_STRINGS
from burnish.reporting.runstrings import RUN_STRINGS

Lang = Literal["en", "zh"]
LANGUAGES: tuple[Lang, ...] = ("en", "zh")

STRINGS: dict[str, tuple[str, str]] = {
    # header
    "title": ("Training report", "训练报告"),
    "other_language": ("中文", "English"),
    "theme": ("Light / dark", "浅色 / 深色"),
    "promoted": ("Promoted", "已晋升"),
    "kept": ("Champion kept", "保留原冠军"),
    "no_verdict": ("No gate in this recipe", "此配方未设门控"),
    "unfinished": ("Not finished: {status}", "未完成：{status}"),
    "headline_promoted": (
        "Round {round} passed the gate and is the new champion",
        "第 {round} 轮通过门控，成为新冠军",
    ),
    "headline_kept": (
        "Round {round} did not pass the gate; the champion stays",
        "第 {round} 轮未通过门控，保留原冠军",
    ),
    "headline_earlier": (
        "Round {round} was promoted; round {last} did not beat it",
        "第 {round} 轮晋升为冠军；第 {last} 轮未能胜出",
    ),
    "headline_plain": ("What training changed", "训练带来的变化"),
    "fact_recipe": ("recipe", "配方"),
    "fact_run": ("run", "运行"),
    "intro": (
        "Every rate is measured on generated replies to items kept out of training. Ranges are "
        "95 % intervals.",
        "所有比率均由模型在训练之外的题目上实际生成的回答测得，区间为 95 % 置信区间。",
    ),
    # sections
    "nav_findings": ("Findings", "结论"),
    "nav_figures": ("Before → after", "前后对比"),
    "nav_trend": ("Rounds", "各轮趋势"),
    "nav_refusals": ("Refusals", "拒绝"),
    "nav_pipeline": ("Pipeline", "流程"),
    "nav_curves": ("Training", "训练曲线"),
    "nav_optimisation": ("Optimisation", "策略优化"),
    "nav_data": ("Data", "数据"),
    "nav_reward": ("Reward model", "奖励模型"),
    "nav_answers": ("Answers", "回答示例"),
    "nav_gate": ("Gate", "门控"),
    "nav_consistency": ("Consistency", "一致性"),
    "nav_lineage": ("Lineage", "谱系"),
    "refusals": ("Harmlessness and over-refusal", "无害性与误拒"),
    "refusals_note": (
        "Always both: a model that refuses everything is harmless, and one that refuses nothing "
        "never refuses wrongly. Shares of prompts refused, with 95 % intervals.",
        "两者必须同时看：什么都拒绝的模型必然无害，什么都不拒绝的模型也不会误拒。"
        "均为被拒绝的请求比例及 95 % 置信区间。",
    ),
    "refusals_harmful": ("harmful prompts refused (more is better)", "有害请求被拒（越高越好）"),
    "refusals_harmless": ("harmless prompts refused (less is better)", "无害请求被拒（越低越好）"),
    "refusals_missing": ("not measured", "未测量"),
    "principles_of": ("Principles drawn in {stage}", "{stage} 中抽取的原则"),
    "col_measured": ("measured", "测量对象"),
    "col_principle": ("principle", "原则"),
    "col_drawn": ("drawn", "抽取次数"),
    "col_violated": ("violated", "违反次数"),
    "col_preferences": ("pairs", "偏好对"),
    "findings": ("Key findings", "主要结论"),
    "findings_rule": (
        "Drawn by rule: a change counts when the two 95 % intervals do not overlap. This is "
        "stricter than the gate's paired tests, which decide promotion.",
        "按固定规则得出：两个 95 % 区间不重叠才算变化。该规则比决定晋升的配对检验更严格。",
    ),
    "what_changed": ("What changed", "变化"),
    "recommendations": ("Recommendations", "建议"),
    "no_recommendations": (
        "None: no rule was triggered.",
        "无：没有规则被触发。",
    ),
    "before_after": ("Before → after", "前后对比"),
    "before_after_note": (
        "Before: the model that entered the first round. After: the champion at the end. Improved "
        "or regressed where the two 95 % intervals do not overlap, else noise.",
        "训练前：进入第一轮的模型。训练后：最终的冠军模型。两个 95 % 区间不重叠才算提升或下降，"
        "否则属噪声范围。",
    ),
    "before": ("before", "训练前"),
    "after": ("after", "训练后"),
    "better_up": ("higher is better", "越高越好"),
    "better_down": ("lower is better", "越低越好"),
    "measured": ("measured", "测得"),
    "trend": ("Round by round", "逐轮趋势"),
    "trend_note": (
        "The line is the champion after each round, its band the 95 % interval; the grey points "
        "are the rounds' candidates, promoted or not.",
        "折线为每轮之后的冠军，色带为 95 % 区间；灰点为各轮候选模型，无论是否晋升。",
    ),
    "pipeline": ("The pipeline", "训练流程"),
    "pipeline_note": (
        "Bars show each stage's share of the longest one.",
        "横条表示该阶段耗时占最长阶段的比例。",
    ),
    "prepare": ("Preparation", "准备"),
    "round_n": ("Round {round}", "第 {round} 轮"),
    "curves": ("Training curves", "训练曲线"),
    "curves_note": (
        "Over training steps. Thin lines are raw values, thick ones a running mean.",
        "横轴为训练步数。细线为原始值，粗线为滑动平均。",
    ),
    "more_curves": ("More curves", "更多曲线"),
    "guard_bound": ("guard's bound", "遗忘防护界限"),
    "guard_raise_replay": ("replay 1 : {replay}", "回放升至 1 : {replay}"),
    "guard_lower_rate": ("rate × {rate}", "学习率 × {rate}"),
    "guard_rollback": ("rolled back", "已回滚"),
    "guard_stop": ("stopped", "已停止"),
    "budget": ("budget", "预算"),
    "funnel": ("Data funnel", "数据漏斗"),
    "funnel_note": (
        "How many records each step let through.",
        "每一步之后剩余的记录数。",
    ),
    "funnel_in": ("candidates", "候选"),
    "funnel_removed": ("−{count}", "−{count}"),
    "funnel_examples": ("What was removed, and why", "删除了什么，为什么"),
    "col_filter": ("filter", "过滤器"),
    "col_reason": ("reason", "原因"),
    "col_prompt": ("prompt", "提示"),
    "col_reply": ("reply", "回答"),
    "start": ("start", "起点"),
    "headline_undecided": (
        "Round {round} could not be decided; the champion stays",
        "第 {round} 轮无法判定，保留原冠军",
    ),
    "headline_failed": (
        "Round {round} failed; the champion stays",
        "第 {round} 轮失败，保留原冠军",
    ),
    "decision_failed": ("Failed", "失败"),
    "candidate_shown": (
        "“After” is the last candidate, which was not promoted.",
        "“训练后”为最后一个候选模型，它未获晋升。",
    ),
    "reward": ("Reward model", "奖励模型"),
    "reward_note": (
        "Share of held-out pairs where the chosen reply scores higher. A random split shares "
        "sources with training and flatters; a source left out whole is the honest test.",
        "留出的偏好对中，较优回答得分更高的比例。随机划分与训练集同源，会偏高；"
        "整体留出一个来源才是更诚实的检验。",
    ),
    "chance": ("chance: 50 %", "随机：50 %"),
    **REWARD_STRINGS,
    **RUN_STRINGS,
    **REDTEAM_STRINGS,
    "answers": ("Sample answers", "回答示例"),
    "answers_note": (
        "The same held-out prompts before and after; regressions first.",
        "同一批留出题目的前后回答，退步的排在最前。",
    ),
    "answers_counts": (
        "{better} improved, {worse} regressed, {same} unchanged in outcome, of {all}",
        "共 {all} 题：{better} 题进步，{worse} 题退步，{same} 题结果不变",
    ),
    "regressed": ("regressed", "退步"),
    "improved": ("improved", "进步"),
    "unchanged": ("unchanged", "不变"),
    "right": ("right", "正确"),
    "wrong": ("wrong", "错误"),
    "abstained": ("abstained", "弃答"),
    "empty_reply": ("(empty)", "（空）"),
    "gate": ("The gate", "门控判定"),
    "gate_note": (
        "A candidate replaces the champion only when paired tests on the same items say so. "
        "Changes are in points, oriented so that above 0 is better; p is corrected (Holm).",
        "只有同题配对检验支持时，候选模型才会取代冠军。变化以百分点计，方向统一为大于 0 更好；"
        "p 值经 Holm 校正。",
    ),
    "gate_power": (
        "These items find a true gain of {detectable} with a power of {power}.",
        "这些题目以 {power} 的功效可发现 {detectable} 的真实增益。",
    ),
    "consistency": ("Consistency over versions", "版本间一致性"),
    "consistency_note": (
        "The same probe answered by every version. A cell is the share of items on which the "
        "version in its row disagrees with the earlier one in its column; the small number is by "
        "how many nats a token the earlier one's replies have become less likely.",
        "所有版本回答同一组探测题。每格为该行版本与该列早期版本不一致的题目比例；"
        "小字为早期版本的回答在新版本下每词元降低的对数概率（纳特）。",
    ),
    "drift": ("Drift", "漂移"),
    "drift_first": ("from the first version", "相对最初版本"),
    "drift_last": ("from the version before", "相对上一版本"),
    "col_metric": ("metric", "指标"),
    "col_role": ("role", "角色"),
    "col_before": ("champion", "冠军"),
    "col_after": ("candidate", "候选"),
    "col_change": ("change", "变化"),
    "col_p": ("p", "p"),
    "col_ok": ("result", "结果"),
    "col_value": ("value", "数值"),
    "col_interval": ("95 % interval", "95 % 区间"),
    "col_artifact": ("artifact", "产物"),
    "col_kind": ("kind", "类型"),
    "col_from": ("made from", "来源"),
    "col_figures": ("figures", "数值"),
    "passed": ("pass", "通过"),
    "failed": ("fail", "未通过"),
    "not_decided": ("not shown", "未能证明"),
    "state_improved": ("improved", "提升"),
    "state_regressed": ("regressed", "下降"),
    "state_noise": ("noise", "噪声范围内"),
    "role_margin": ("may lose {margin}", "容许下降 {margin}"),
    "decision_undecided": ("Undecided", "未定"),
    "role_target": ("must improve", "必须提升"),
    "role_cheaper": ("must be ×{factor} better", "须改善至 ×{factor}"),
    "role_guard": ("must not worsen", "不得变差"),
    "decision_promote": ("Promoted", "晋升"),
    "decision_keep": ("Champion kept", "保留冠军"),
    "notes": ("Honest notes", "如实说明"),
    "note_generated": (
        "Rates come from what the model wrote, not from its loss: a loss can fall while "
        "behaviour stays as it was.",
        "比率来自模型写出的内容而非损失值：损失下降并不代表行为改变。",
    ),
    "note_source": (
        "Reward model: {random} on a random split, {left_out} on a source left out. The second "
        "is what to expect on new data.",
        "奖励模型：随机划分 {random}，留出来源 {left_out}。在新数据上应以后者为准。",
    ),
    "note_intervals": (
        "Intervals cover the sampling of test items, not of training seeds; run several seeds "
        "to see those.",
        "区间只反映测试题目的抽样误差，不含训练随机种子的差异；后者需多种子运行。",
    ),
    "note_rules_critic": (
        "The safety step's critic is made of rules and the reward model: a model this small "
        "cannot critique itself.",
        "安全步骤的评审由规则与奖励模型构成：如此小的模型无法自我批评。",
    ),
    "note_size": (
        "This is a tiny model on three small domains: it shows that the loop works, not what a "
        "large model would reach.",
        "这是在三个小领域上训练的微型模型：它证明闭环可行，而不代表大模型的水平。",
    ),
    "lineage": ("Lineage and artifacts", "谱系与产物"),
    "lineage_note": (
        "What the champion and the last model were made from, oldest on the left; point at a box "
        "for its stage and figures.",
        "冠军与最后一个模型的来历，由左（早）到右（晚）；指向方框可见其阶段与数值。",
    ),
    "reproduce": ("How to reproduce", "如何复现"),
    "reproduce_note": (
        "The run folder holds the resolved recipe; the same recipe and seed give this run again.",
        "运行目录中保存了完整配方；同一配方与种子可复现本次运行。",
    ),
    "all_figures": ("All figures", "全部数值"),
    "footer": (
        "Written by burnish {version}. Every figure is in summary.json; every training step in "
        "metrics.jsonl.",
        "由 burnish {version} 生成。全部数值见 summary.json，逐步训练记录见 metrics.jsonl。",
    ),
    # optimised policies
    "optimisation": ("Optimised policies", "策略优化"),
    "optimisation_note": (
        "What went wrong, by stated limits; and where held-out prompts were watched, how much the "
        "reward trained on and the held-out judges gained, over the square root of the divergence "
        "from the reference (nats), with Gao's d (α − β log d).",
        "按既定阈值列出的异常；若设有留出提示监测，则展示训练奖励与留出评判的增益，"
        "横轴为与参考模型散度（纳特）的平方根，并附 Gao 曲线 d (α − β log d)。",
    ),
    "watch_title": ("{label} · gain over √KL", "{label} · 增益与 √KL"),
    "watch_proxy": ("reward trained on", "训练奖励"),
    "watch_heldout": ("held-out judges", "留出评判"),
    "gao_proxy": ("its fit", "训练奖励拟合"),
    "gao_heldout": ("their fit", "留出评判拟合"),
    "gao_said": (
        "{name}: α = {alpha:.3g}, β = {beta:.3g}, residual {rmse:.2g}",
        "{name}：α = {alpha:.3g}，β = {beta:.3g}，残差 {rmse:.2g}",
    ),
    "watch_stopped": (
        "Over-optimised after step {last}: training stopped and went back to step {best}, the best "
        "point of the held-out judges.",
        "第 {last} 步后出现过度优化：训练停止并回退到留出评判最佳的第 {best} 步。",
    ),
    "watch_reported": (
        "Over-optimised by step {last}; the best point was step {best}. Only to be reported.",
        "至第 {last} 步已过度优化，最佳点为第 {best} 步；按设置未采取行动。",
    ),
    "watch_quiet": (
        "The held-out judges did not fall beyond noise; their best point was step {best}.",
        "留出评判未出现超出噪声的下降，最佳点为第 {best} 步。",
    ),
    # findings and recommendations
    "found_better": ("{name}: {before} → {after}", "{name}：{before} → {after}"),
    "found_worse": ("{name} got worse: {before} → {after}", "{name}变差：{before} → {after}"),
    "found_flat": ("No clear change: {names}", "无明显变化：{names}"),
    "brief": ("{name} ({before} → {after})", "{name}（{before} → {after}）"),
    "found_without": (
        "Without post-pretraining the same questions reach {value}: that stage, not the "
        "instruction data, brings the knowledge.",
        "若去掉后预训练，同样的问题只有 {value}：知识来自该阶段，而非指令数据。",
    ),
    "found_gate": ("Gate, round {round}: {reason}", "第 {round} 轮门控：{reason}"),
    "advise_replay": (
        "General perplexity rose to {value} × the base's. Raise the share of general text in "
        "post-pretraining or lower its learning rate.",
        "通用困惑度升至基座的 {value} 倍。请提高后预训练中通用文本的比例，或降低学习率。",
    ),
    "advise_contrast": (
        "{value} of harmless prompts are refused. Add contrast prompts that look dangerous and "
        "are not.",
        "{value} 的无害请求被拒绝。请增加看似危险而实则无害的对比样本。",
    ),
    "advise_abstain": (
        "Only {value} of unknown items are answered “I don't know”. Add unknown entities to the "
        "instruction data or raise the penalty for wrong answers.",
        "仅 {value} 的未知问题回答“不知道”。请在指令数据中加入未知实体，或加大答错的惩罚。",
    ),
    "advise_confident": (
        "Confident wrong answers did not fall. Give the reinforcement stage more steps, or "
        "check that abstaining scores above being wrong.",
        "自信的错误回答没有减少。请增加强化学习步数，或确认弃答得分高于答错。",
    ),
    "advise_source": (
        "The reward model loses {gap} points on a source it never saw. Collect pairs from more "
        "sources before trusting its scores there.",
        "奖励模型在未见来源上下降 {gap} 个百分点。请先收集更多来源的偏好对。",
    ),
    "advise_wide": (
        "The interval of “{name}” is {width} points wide. Evaluate on more items before acting "
        "on it.",
        "“{name}”的区间宽达 {width} 个百分点。请先增加评测题目再据此决策。",
    ),
    "advise_kept": (
        "The last round was not promoted. Read its reasons below; if it was close, more "
        "evaluation items decide it, otherwise change the data.",
        "最后一轮未晋升。请看下方原因：若差距很小，可增加评测题目；否则应调整数据。",
    ),
}


def text(lang: Lang, key: str, **values: object) -> str:
    """The sentence ``key`` in ``lang`` with its values filled in."""
    return STRINGS[key][LANGUAGES.index(lang)].format(**values)


def word(lang: Lang, key: str, other: object) -> str:
    """The word ``key`` where there is one, else ``other`` as it is."""
    return text(lang, key) if key in STRINGS else str(other)
