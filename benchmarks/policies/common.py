"""What the measurements share: the model they start from, how replies are scored, charts."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.selection import SHIPPED, made, pretrained, quickstart
from burnish.evals.compare import RESPONSES
from burnish.reporting.markup import Markup
from burnish.store import atomic

ROOT = Path(__file__).resolve().parents[2]
PAGES, IMAGES = ROOT / "benchmarks", ROOT / "docs/images"
SCORES = {"right": 1.0, "abstained": 0.0, "wrong": -1.0}
"""Of an answer: what the verifier gives it in training too."""
TASKS = ("form", "atlas_seen", "atlas_explored", "atlas_heldout", "atlas_unknown")
PROMPTS = ["burnish:quickstart/rl_prompts.jsonl.gz"]
ASKED = 1152
"""Prompts whose four replies each make the pairs: as many as 12 phases of 96 prompts ask."""
SAMPLING = {"temperature": 1.0, "max_new_tokens": 24}
STYLE = """
svg { background: #fffdf9; font-family: sans-serif }
text { fill: #5d636b; font-size: 11px }
.axis { stroke: #c9c2b4 } .grid-line { stroke: #e2ddd2; stroke-dasharray: 2 4 }
.c1 { --c: #0b7a6f } .c2 { --c: #c2621f } .c3 { --c: #5a57b8 } .c5 { --c: #a0316b }
.curve { fill: none; stroke: var(--c); stroke-width: 2 } .dot, .points circle { fill: var(--c) }
.bound { stroke: #b3261e; stroke-dasharray: 5 4 } .bound-text { fill: #b3261e }
"""


@dataclass(frozen=True)
class Start:
    """What every method starts from: the tuned model, pairs of its own replies."""

    sft: Path
    pairs: Path


def start(work: Path) -> Start:
    """The quickstart's model after instruction tuning, and its pairs."""
    base = pretrained(work.resolve())
    recipe = quickstart()
    stages = {"sft": recipe["prepare"]["sft"], "generate": recipe["round"]["generate"]}
    stages["generate"] |= {"limit": ASKED, "instructions": []}
    written = json.dumps(stages).replace("@champion", "@sft").replace("@pretrain", "@base")
    found = made(json.loads(written), str(base), work.resolve() / "start", 0).folders
    return Start(found["sft"], found["generate"] / "preferences.jsonl")


def measured(model: str, part: str) -> dict[str, Any]:
    """The stage that asks a model every held-out item, greedily."""
    tasks = [
        {"name": name, "data": str(SHIPPED / part / f"{name}.jsonl.gz"), "metric": "right"}
        for name in TASKS
    ]
    return {"run": "measure.evaluate", "model": model, "tasks": tasks,
            "sampling": {"temperature": 0.0, "max_new_tokens": 24}}  # fmt: skip


def scores(folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    """By item, +1 / 0 / -1 for a right, declined or wrong answer, and the item's group."""
    rows = [json.loads(line) for line in (folder / RESPONSES).read_text().splitlines()]
    values = {row["item_id"]: SCORES[row["outcome"]] for row in rows}
    return values, {row["item_id"]: row.get("group") or row["item_id"] for row in rows}


def mean_score(folder: Path) -> float:
    """The mean over all items of a measurement."""
    values = scores(folder)[0].values()
    return sum(values) / len(values)


def rows_of(run: Path, stage: str) -> list[dict[str, float]]:
    """The logged steps of a stage of a run folder, the later of two with one number."""
    found = {}
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["stage"] == stage:
            found[row["step"]] = row
    return [found[step] for step in sorted(found)]


def details(folder: Path) -> dict[str, Any]:
    """What a stage recorded."""
    record = json.loads((folder / "artifact.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = record["details"]
    return found


def save_chart(name: str, chart: Markup) -> str:
    """A chart of the report as a picture that stands alone; returns its line of Markdown."""
    picture, _, legend = chart.partition("</svg>")
    head, _, rest = picture.partition(">")
    svg = f'{head} xmlns="http://www.w3.org/2000/svg"><style>{STYLE}</style>{rest}</svg>\n'
    atomic.write_text(IMAGES / f"{name}.svg", svg)
    named = re.findall(r'class="(c\d)"><i></i>([^<]*)<', legend)
    colours = {"c1": "green", "c2": "orange", "c3": "violet", "c5": "purple"}
    said = "; ".join(f"{colours[css]}: {text}" for css, text in named)
    return f"![{name}](../docs/images/{name}.svg)" + (f"\n\n({said})" if said else "")


def options(text: str | None, phases: int) -> argparse.Namespace:
    """The command line that all three share."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="kept, so that it can continue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--phases", type=int, default=phases)
    parser.add_argument("--prompts", type=int, default=96, help="a phase, where methods compare")
    parser.add_argument("--part", choices=("dev", "eval"), default="eval")
    return parser.parse_args()


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown, the first column to the left."""
    lines = [list(head), ["---", *["---:"] * (len(head) - 1)], *[list(map(str, r)) for r in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
