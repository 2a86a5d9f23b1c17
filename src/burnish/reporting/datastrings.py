"""Every sentence of the data page, English and Chinese side by side."""

from __future__ import annotations

from burnish.reporting.strings import LANGUAGES, Lang

STRINGS: dict[str, tuple[str, str]] = {
    "title": ("Data", "数据概览"),
    "headline": ("{count} records", "{count} 条记录"),
    "intro": (
        "What the file holds, counted over all of its records. The map and the duplicates are of "
        "a sample where it says so.",
        "文件内容概览，基于全部记录统计；注明“抽样”之处（地图与重复）基于样本。",
    ),
    "fact_kinds": ("kind", "类型"),
    "fact_files": ("files", "文件"),
    "fact_bad": ("bad rows", "错误行"),
    "fact_characters": ("characters", "字符"),
    "fact_tokens": ("tokens", "词元"),
    "fact_repeated": ("records with an id that came before", "id 重复的记录"),
    "lengths": ("Lengths", "长度"),
    "lengths_note": (
        "All texts of a record together; logarithmic axis.",
        "每条记录全部文本合计；横轴为对数。",
    ),
    "characters": ("Characters a record", "每条记录字符数"),
    "tokens": ("Tokens a record", "每条记录词元数"),
    "quantiles": ("median {median} · 10 % {low} · 90 % {high}",
                  "中位数 {median} · 10 % 分位 {low} · 90 % 分位 {high}"),
    "composition": ("Composition", "构成"),
    "composition_note": (
        "Marks show the targets of a mix: 5 % expert, 25 % selected, 70 % bulk; 70 to 80 % "
        "synthetic.",
        "标记为混合目标：专家 5 %、精选 25 %、大宗 70 %；合成占 70 – 80 %。",
    ),
    "target": ("target", "目标"),
    "lang": ("Languages", "语言"),
    "tier": ("Tiers", "层级"),
    "synthetic": ("Written by", "来源方式"),
    "machine": ("machine", "合成"),
    "people": ("people", "人工"),
    "source": ("Sources", "来源"),
    "task": ("Tasks", "任务"),
    "topic": ("Topics", "主题"),
    "expert": ("expert", "专家"),
    "selected": ("selected", "精选"),
    "bulk": ("bulk", "大宗"),
    "en": ("English", "英文"),
    "zh": ("Chinese", "中文"),
    "others": ("{count} others", "其余 {count} 种"),
    "map": ("Map of topics", "主题地图"),
    "map_note": (
        "{shown} of {all} records, placed by the words they share (TF-IDF, truncated SVD, two "
        "principal components), coloured by {field}. Point at one to read it.",
        "从 {all} 条中抽样 {shown} 条，按共有词语定位（TF-IDF、截断 SVD、前两个主成分），"
        "按{field}着色。将指针移到点上可查看文本。",
    ),
    "other": ("other", "其他"),
    "scores": ("Scores", "评分"),
    "scores_note": ("Over the records that have each one.", "仅统计带有该评分的记录。"),
    "score_facts": ("mean {mean} · {n} records", "均值 {mean} · {n} 条"),
    "duplicates": ("Duplicates", "重复"),
    "duplicates_note": (
        "Among {all} records (a sample of {sample}): equal but for case and punctuation, or "
        "sharing 70 % of their word 5-grams with another (near). In a sample there are fewer "
        "than in all.",
        "在 {all} 条中抽样 {sample} 条：忽略大小写与标点后相同，或与他条共有 70 % 的五元词组"
        "（近似）。样本中的重复少于全体。",
    ),
    "exact": ("exact", "完全重复"),
    "near": ("near (exact included)", "近似重复（含完全重复）"),
    "twins": ("Largest groups", "最大的重复组"),
    "group_size": ("{count} times", "{count} 次"),
    "footer": ("Written by burnish data stats.", "由 burnish data stats 生成。"),
    "theme": ("Light / dark", "浅色 / 深色"),
}  # fmt: skip


def said(lang: Lang, key: str, **values: object) -> str:
    """The sentence ``key`` in ``lang`` with its values filled in."""
    return STRINGS[key][LANGUAGES.index(lang)].format(**values)


def named(lang: Lang, value: str) -> str:
    """A value of a column in ``lang`` where it is one of burnish's own, else as it is."""
    return said(lang, value) if value in ("expert", "selected", "bulk", "en", "zh") else value
