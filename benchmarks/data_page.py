"""The page of the scale benchmark, from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.data_sampler import REPLACED, similarity
from burnish.selection.dedup import collision_probability

TOOLS = ("burnish", "datasketch", "rensa", "distilabel", "semhash")
ABOUT = """# Data at scale

<!-- Written by benchmarks/data_scale.py; do not edit. -->

Instructions with replies from a template sampler (`benchmarks/data_sampler.py`), which stands in
for a model: 94 words each, in English and Chinese, one in ten a copy of another with words
replaced. Every step reads parts of 10,000 records and writes parts, with two worker processes;
`score` runs the real scorers (completeness, repetition, language); `dedup`, `select`, `mix` and
`clean` are what the commands of these names run. `select` does all its steps, keeps the better half
of each topic and then three tenths, balanced; `clean` leaves `quality` out, whose rules no random
words keep. `examples` and `documents` put the records into another form. Memory is the resident
size of all processes of the step together, pages that they share counted for each.
"""
COMPARISON = """
## Against other tools

One process each, in turn, on the same {count:,} texts; seconds without imports and without reading.
The same bands (14 of 8) and word 5-grams where a tool takes them. distilabel's `MinHashDedup` is
used with its n-grams of 5 characters (threshold 0.7; its words need a download). semhash is used
with its own threshold and, since its embeddings need a download, with random word vectors of 256
numbers: its time is told, its findings are of that stand-in. Only burnish compares candidates
exactly. A planted pair counts as found where one of the two was removed; pairs of similarity 0.64
should stay. rensa (Rust) is used text by text and does not compare candidates either.
"""


def page(found: Mapping[str, Any], facts: Mapping[str, str]) -> str:
    """The whole page."""
    parts = [ABOUT, "\n".join(f"- {name}: {value}" for name, value in facts.items()) + "\n"]
    counts = sorted({int(key.split()[1]) for key in found if key.startswith("step")})
    for count in counts:
        parts.append(_steps(found, count))
    for count in counts:
        if f"planted {count}" in found:
            parts.append(_planted(found[f"planted {count}"], count))
    tools = [key for key in found if key.startswith("compare")]
    if tools:
        parts.append(COMPARISON.format(count=int(tools[0].split()[1])))
        parts.append(
            _tools({key.split()[2]: found[key] for key in tools}, int(tools[0].split()[1]))
        )
    return "\n".join(parts)


def _steps(found: Mapping[str, Any], count: int) -> str:
    lines = [
        f"\n## {count:,} records\n",
        "| step | records in | kept | seconds | records/s | records/CPU-s | peak MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, value in found.items():
        if key.startswith(f"step {count} "):
            records = value["kept"] + value["removed"]
            lines.append(
                f"| {key.split()[2]} | {records:,} | {value['kept']:,} | {value['wall']:,.0f} "
                f"| {records / value['wall']:,.0f} | {records / value['cpu']:,.0f} "
                f"| {value['mib']:,.0f} |"
            )
    return "\n".join(lines)


def _planted(value: Mapping[str, Any], count: int) -> str:
    lines = [
        f"\nPlanted copies among {count:,} records, by the similarity they were planted with:\n",
        "| words replaced | similarity | pairs | found | expected of the bands |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for replaced in REPLACED:
        pairs, hits = value["pairs"][str(replaced)], value["found"][str(replaced)]
        alike = similarity(replaced)
        expected = collision_probability(alike) if alike >= 0.7 else 0.0
        lines.append(
            f"| {replaced} | {alike:.3f} | {pairs:,} | {hits / pairs:.4f} | {expected:.4f} |"
        )
    return "\n".join(lines) + "\n"


def _tools(found: Mapping[str, Any], count: int) -> str:
    heads = " | ".join(f"found at {similarity(replaced):.2f}" for replaced in REPLACED)
    lines = [
        f"| tool | texts/CPU-s | texts/s | peak MiB | removed | {heads} |",
        "| --- | ---: | ---: | ---: | ---: |" + " ---: |" * len(REPLACED),
    ]
    for tool, value in sorted(found.items(), key=lambda item: TOOLS.index(item[0])):
        if "problem" in value:
            lines.append(f"| {tool} | not measured: {value['problem'].replace('|', '/')} |")
            continue
        shares = " | ".join(
            f"{value['found'][str(replaced)] / value['pairs'][str(replaced)]:.3f}"
            for replaced in REPLACED
        )
        lines.append(
            f"| {tool} | {count / value['cpu']:,.0f} | {count / value['seconds']:,.0f} "
            f"| {value['mib']:,.0f} | {value['removed']:,} | {shares} |"
        )
    return "\n".join(lines) + "\n"
