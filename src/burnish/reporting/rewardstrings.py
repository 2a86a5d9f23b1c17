"""What the report says of a reward model, in English and Chinese."""

from __future__ import annotations

REWARD_STRINGS: dict[str, tuple[str, str]] = {
    "pairs_heldout": ("held-out pairs", "留出的偏好对"),
    "pairs_left_out": ("topics left out", "未参与训练的主题"),
    "pairs_longest": ("longest replies", "最长的回答"),
    "pairs_shortest": ("shortest replies", "最短的回答"),
    "pairs_language_en": ("English, left out", "未参与训练的英文"),
    "pairs_language_zh": ("Chinese, left out", "未参与训练的中文"),
    "pairs_own": ("the policy's own replies", "策略模型自己的回答"),
    "reward_col_pairs": ("pairs", "偏好对"),
    "reward_col_n": ("n", "数量"),
    "reward_col_accuracy": ("accuracy", "准确率"),
    "reward_col_ece": ("ECE", "校准误差 ECE"),
    "reward_col_ece_after": ("ECE after T", "温度校准后的 ECE"),
    "reward_col_length": ("score ~ length", "得分与长度的相关"),
    "reward_col_longer": ("chosen is longer", "较优回答更长时"),
    "reward_col_shorter": ("chosen is shorter", "较优回答更短时"),
    "reward_col_agree": ("all members agree", "成员一致的比例"),
    "reward_col_right_agree": ("right where they agree", "一致时的准确率"),
    "reward_col_right_disagree": ("right where they do not", "不一致时的准确率"),
    "reward_col_bin": ("confidence bin", "置信度区间"),
    "reward_col_confidence": ("mean confidence", "平均置信度"),
    "reward_table_note": (
        "Intervals are of 95 %, over groups of pairs. “Score ~ length” is the rank correlation of "
        "score and length within pairs: far from 0, length itself is rewarded or punished.",
        "区间均为按组计算的 95 % 区间。“得分与长度的相关”为偏好对内得分差与长度差的秩相关，"
        "明显偏离 0 说明奖励模型偏好或惩罚长度本身。",
    ),
    "reliability": ("Reliability", "可靠性图"),
    "reliability_ideal": ("as sure as right", "理想校准"),
    "reliability_before": ("scores as they are", "原始得分"),
    "reliability_after": ("after temperature", "温度校准后"),
    "reliability_counts": ("Bins with their counts", "各区间的数量"),
    "temperature_note": (
        "Temperature {value}, fitted to half of the held-out groups; their reliability is that of "
        "the other half. Above 1 the scores were too sure.",
        "温度为 {value}，用一半留出组拟合，留出对的可靠性图来自另一半。"
        "大于 1 表示原始得分过于自信。",
    ),
    "no_temperature": (
        "No temperature: too few held-out groups, or all scores equal.",
        "未拟合温度：留出组太少，或所有得分相同。",
    ),
    "best_of_n": (
        "Best of {n} of the policy's own replies, by the verifier's score: the reward model's "
        "favourite {picked}, a random one {average}, the best there is {best}.",
        "在策略模型的 {n} 个回答中按校验器得分："
        "奖励模型选出的 {picked}，随机选 {average}，最优 {best}。",
    ),
    "refresh_kept": (
        "Kept {model}: accuracy {accuracy} on fresh pairs, at or above the bound {bound}.",
        "沿用 {model}：在新偏好对上的准确率 {accuracy}，不低于下限 {bound}。",
    ),
    "refresh_trained": (
        "Retrained: {model} had accuracy {accuracy} on fresh pairs, below the bound {bound}.",
        "已重新训练：{model} 在新偏好对上的准确率 {accuracy}，低于下限 {bound}。",
    ),
    "refresh_unmeasured": (
        "Kept {model}: there were no fresh pairs to measure it on.",
        "沿用 {model}：没有可用于检验的新偏好对。",
    ),
}
