"""What the measurements share: the model they start from, and how replies are scored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.selection import made, pretrained
from burnish import recipes

SCORES = {"right": 1.0, "abstained": 0.0, "wrong": -1.0}
TASKS = ("form", "atlas_seen", "atlas_explored", "atlas_heldout", "atlas_unknown")
FILE = "responses.jsonl"


@dataclass(frozen=True)
class Start:
    """What every method of one seed starts from."""

    sft: Path
    pairs: Path
    reward: Path


def start(work: Path, seed: int) -> Start:
    """The quickstart's model after instruction tuning, pairs of its own replies, a reward model."""
    base = pretrained(work.resolve())
    recipe = yaml.safe_load(recipes.resolve("quickstart").read_text(encoding="utf-8"))
    stages = {"sft": recipe["prepare"]["sft"]}
    stages |= {name: recipe["round"][name] for name in ("generate", "reward")}
    renamed = json.loads(
        json.dumps(stages).replace("@champion", "@sft").replace("@pretrain", "@base")
    )
    found = made(renamed, str(base), work.resolve() / f"seed{seed}" / "start", seed).folders
    return Start(found["sft"], found["generate"] / "preferences.jsonl", found["reward"])
