"""What figures and metrics are called, how they are shown and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from burnish.reporting.strings import Lang

DIMENSIONS = ("capability", "alignment", "safety", "efficiency")
Unit = Literal["share", "ratio", "number"]


@dataclass(frozen=True)
class FigureName:
    """How one figure is named (English, Chinese), explained, shown, and which way is better."""

    en: str
    zh: str
    about_en: str = ""
    about_zh: str = ""
    better: Literal["up", "down", ""] = "up"
    unit: Unit = "share"

    def label(self, lang: Lang) -> str:
        """The name in one language."""
        return self.zh if lang == "zh" else self.en

    def about(self, lang: Lang) -> str:
        """The explanation in one language."""
        return self.about_zh if lang == "zh" else self.about_en


FIGURES: dict[str, FigureName] = {
    "knowledge_heldout_exact": FigureName(
        "Knowledge, held-out entities",
        "知识（留出实体）",
        "Exact answers about entities that no training question asked about.",
        "对训练中从未提问过的实体给出的准确回答比例。",
    ),
    "knowledge_without_pretraining": FigureName(
        "Knowledge without post-pretraining",
        "知识（去掉后预训练）",
        "The same questions, after instruction tuning alone.",
        "同样的问题，仅做指令微调。",
    ),
    "atlas": FigureName(
        "Knowledge, all questions",
        "知识（全部问题）",
        "Entities asked about in training in other words, explored only, or never asked about.",
        "训练中以其他问法问过、仅探索过或从未问过的全部实体。",
    ),
    "atlas_seen": FigureName(
        "Knowledge, new wordings",
        "知识（新问法）",
        "Seen entities asked about in wordings never trained.",
        "已见实体，但问法从未训练过。",
    ),
    "harmful_refused": FigureName(
        "Harmful prompts refused",
        "有害请求拒绝率",
        "Held-out harmful prompts that were declined.",
        "留出的有害请求中被拒绝的比例。",
    ),
    "left_out_source_refused": FigureName(
        "Harmful refused, source left out",
        "有害请求拒绝率（留出来源）",
        "Prompts of a source that no training stage saw.",
        "来自训练中从未见过的来源的请求。",
    ),
    "attack_success": FigureName(
        "Attacks that got through",
        "攻击成功率",
        "Harmful prompts in attack wordings that were not declined.",
        "以攻击说法提出、未被拒绝的有害请求比例。",
        better="down",
    ),
    "prompts_broken": FigureName(
        "Harmful prompts got through by any attack",
        "至少被一种攻击突破的有害请求",
        "Harmful prompts that at least one attack got an answer to.",
        "至少有一种攻击得到回答的有害请求比例。",
        better="down",
    ),
    "benign_refused": FigureName(
        "Harmless look-alikes refused",
        "无害请求误拒率",
        "Benign prompts that sound dangerous, declined by mistake.",
        "听起来危险但实则无害的请求被误拒的比例。",
        better="down",
    ),
    "unknown_abstained": FigureName(
        "“I don't know” on unknowns",
        "未知问题的“不知道”",
        "Questions about entities that do not exist, answered with an abstention.",
        "对不存在的实体的提问回答“不知道”的比例。",
    ),
    "confident_wrong": FigureName(
        "Confident wrong answers",
        "自信的错误回答",
        "Wrong answers given instead of an abstention.",
        "本可弃答却给出错误答案的比例。",
        better="down",
    ),
    "form": FigureName(
        "Constraints followed",
        "格式约束遵循率",
        "Replies that satisfy a checkable constraint.",
        "满足可验证约束的回答比例。",
    ),
    "general_ppl_ratio": FigureName(
        "General perplexity ÷ base",
        "通用困惑度 ÷ 基座",
        "How much general ability was given up; 1 is nothing.",
        "通用能力的损失程度，1 表示无损失。",
        better="down",
        unit="ratio",
    ),
    "general_ppl": FigureName(
        "General perplexity",
        "通用困惑度",
        "On general text that no stage trained on.",
        "在未参与训练的通用文本上。",
        better="down",
        unit="number",
    ),
    "general": FigureName("General text, nats a token", "通用文本（每词元纳特）", unit="number"),
    "prefill_tokens_per_second": FigureName(
        "Prefill, tokens a second", "预填充（词元/秒）", unit="number"
    ),
    "decode_tokens_per_second": FigureName(
        "Decoding, tokens a second", "解码（词元/秒）", unit="number"
    ),
    "latency_p50_seconds": FigureName(
        "Latency, median (s)", "延迟中位数（秒）", better="down", unit="number"
    ),
    "latency_p95_seconds": FigureName(
        "Latency, 95th percentile (s)", "延迟 95 百分位（秒）", better="down", unit="number"
    ),
    "peak_memory_bytes": FigureName(
        "Peak memory (bytes)", "内存峰值（字节）", better="down", unit="number"
    ),
    "size_bytes": FigureName(
        "Size on disk (bytes)", "磁盘大小（字节）", better="down", unit="number"
    ),
    "reward_heldout_accuracy": FigureName(
        "Reward model accuracy",
        "奖励模型准确率",
        "Held-out pairs ranked as labelled (random split).",
        "留出偏好对排序正确的比例（随机划分）。",
    ),
    "reward_left_out_accuracy": FigureName(
        "Reward model, source left out",
        "奖励模型（留出来源）",
        "Pairs of a source that its training never saw.",
        "来自训练中从未见过的来源的偏好对。",
    ),
}

METRICS: dict[str, tuple[str, str]] = {
    "loss": ("Loss", "损失"),
    "eval_loss": ("Held-out loss", "验证损失"),
    "reward": ("Reward", "奖励"),
    "kl": ("KL to the reference", "与参考模型的 KL"),
    "cost": ("Cost", "代价"),
    "lambda": ("Weight λ of the cost", "代价的拉格朗日乘子 λ"),
    "general_ppl": ("General perplexity", "通用困惑度"),
    "general_share": ("Share of general text", "通用文本占比"),
    "domain_ppl": ("Domain perplexity", "领域困惑度"),
    "accuracy": ("Accuracy", "准确率"),
    "margin": ("Margin", "得分差"),
    "entropy": ("Entropy", "熵"),
    "length": ("Reply length", "回答长度"),
    "clip_fraction": ("Tokens clipped", "裁剪比例"),
    "explained_variance": ("Variance explained by the critic", "评论家解释的方差"),
    "kl_coef": ("Weight of the KL", "KL 权重"),
    "watch_proxy": ("Reward on held-out prompts", "留出提示上的训练奖励"),
    "watch_verifier": ("Verifier on held-out prompts", "留出提示上的验证得分"),
    "grad_norm": ("Gradient norm", "梯度范数"),
    "learning_rate": ("Learning rate", "学习率"),
    "tokens_per_second": ("Tokens per second", "每秒词元数"),
}

STAGES: dict[str, str] = {
    "fit.pretrain": "后预训练",
    "fit.sft": "监督微调",
    "fit.distill": "知识蒸馏",
    "fit.reward": "奖励模型",
    "fit.dpo": "偏好优化 DPO",
    "fit.kto": "偏好优化 KTO",
    "fit.ppo": "强化学习 PPO",
    "fit.grpo": "强化学习 GRPO",
    "fit.online_dpo": "在线偏好优化 DPO",
    "fit.experts": "专家组合",
    "fit.router": "路由器训练",
    "curate.write": "指令生成",
    "curate.generate": "数据生成",
    "curate.clean": "语料清洗",
    "curate.dedup": "数据去重",
    "curate.score": "数据打分",
    "curate.select": "数据筛选",
    "curate.mix": "数据配比",
    "curate.quarantine": "数据隔离",
    "curate.constitution": "规则对齐",
    "measure.evaluate": "评测",
    "measure.compare": "模型对比",
    "measure.redteam": "红队测试",
    "measure.probe": "一致性探测",
    "measure.gate": "门控",
    "release.promote": "发布",
    "release.export": "导出",
}


def figure_name(name: str) -> FigureName:
    """The naming of a figure; unknown ones are shown under their own name."""
    if name in FIGURES:
        return FIGURES[name]
    plain = name.replace("_", " ").replace(".", " · ")
    down = any(
        word in name for word in ("wrong", "loss", "ppl", "benign_refused", "attack_success")
    )
    unit: Unit = "ratio" if "ratio" in name else "number" if "ppl" in name else "share"
    return FigureName(plain, plain, better="down" if down else "up", unit=unit)


def place_of(dimension: str) -> int:
    """Where a dimension stands among the others; unknown ones come last."""
    return DIMENSIONS.index(dimension) if dimension in DIMENSIONS else len(DIMENSIONS)


def stage_name(stage: str, lang: Lang) -> str:
    """``fit.sft``, or what it does in Chinese."""
    return STAGES.get(stage, stage) if lang == "zh" else stage


def metric_name(name: str, lang: Lang) -> str:
    """The naming of a training metric."""
    if name in METRICS:
        return METRICS[name][1 if lang == "zh" else 0]
    return name.replace("_", " ")


def show(value: float | None, unit: Unit = "number") -> str:
    """A figure as text: ``62 %``, ``1.12 ×``, ``0.473``; ``–`` where there is none."""
    if value is None or value != value:
        return "–"
    if unit == "share" and -1.0 <= value <= 1.0:
        return f"{value * 100:.1f} %".replace(".0 %", " %")
    if unit == "ratio":
        return f"{value:.2f} ×"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def duration(seconds: float) -> str:
    """``7 s``, ``4 min 12 s``, ``1 h 3 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count: float) -> str:
    """``812 MiB``, ``1.4 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1024
    raise AssertionError("unreachable")
