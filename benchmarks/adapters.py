"""A reward model, DPO and GRPO with LoRA on SmolLM2-135M, on tasks that a verifier can check.

    python -m benchmarks.adapters --work runs            about half an hour on two idle cores

The recipe is adapters.yaml. The page RESULTS-adapters.md says what is done; this program writes it.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from burnish.engine import RichProgress
from burnish.loop.recipe import load
from burnish.loop.run import run
from burnish.records import Example, Prompt
from burnish.store import atomic, tables

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/burnish/assets/quickstart"
RECIPE = Path(__file__).with_name("adapters.yaml")
PAGE = Path(__file__).with_name("RESULTS-adapters.md")
TASK = "form"
EXAMPLES = 240
MEASURED = {"dpo": "DPO", "grpo": "GRPO"}

Kind = TypeVar("Kind", Example, Prompt)


def english(name: str, kind: type[Kind]) -> list[Kind]:
    """The English records of the task in a shipped file: SmolLM2 knows little Chinese."""
    records = tables.read(SHIPPED / name, kind)
    return [one for one in records if one.task == TASK and one.lang == "en"]


def prepare(work: Path) -> Path:
    """The recipe beside its three files."""
    folder = work / "adapters-data"
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(folder / "sft.jsonl", english("sft.jsonl.gz", Example)[:EXAMPLES])
    tables.write(folder / "prompts.jsonl", english("rl_prompts.jsonl.gz", Prompt))
    tables.write(folder / "heldout.jsonl", english("eval/form.jsonl.gz", Prompt))
    atomic.write_text(folder / RECIPE.name, RECIPE.read_text(encoding="utf-8"))
    return folder / RECIPE.name


def page(summary: dict[str, Any]) -> str:
    """The results page from a run's summary."""
    stages = {stage["name"]: stage for stage in summary["stages"]}
    accuracy = stages["reward"]["figures"]["heldout_accuracy"]
    before = stages["evaluate_sft"]["figures"][TASK]
    lines = [
        "# LoRA on SmolLM2-135M",
        "",
        "Written by `python -m benchmarks.adapters`; the recipe is `benchmarks/adapters.yaml`.",
        f"Tasks are the quickstart's English format and arithmetic ones: {EXAMPLES} examples for",
        "instruction tuning, four replies to each training prompt, checked by its verifier, and",
        f"{before['n']:.0f} held-out items that no stage saw. DPO and GRPO both start from the",
        "instruction-tuned model. Rank 16 on every linear layer; one seed.",
        "",
        f"Made on {date.today()}, on two CPU cores. Minutes are by the clock.",
        "",
        "| fit | minutes | held out | gain, paired | p (one-sided) |",
        "| --- | ---: | ---: | ---: | ---: |",
        f"| instruction tuning | {minutes(stages['sft'])} | {shown(before)} | | |",
    ]
    for name, label in MEASURED.items():
        after = stages[f"evaluate_{name}"]["figures"][TASK]
        gain = stages[f"gate_{name}"]["figures"]["gain"]
        p = details(summary, stages[f"gate_{name}"])["p_values"]["target"]
        lines.append(
            f"| {label} | {minutes(stages[name])} | {shown(after)} | {shown(gain, '+')} | {p:.4f} |"
        )
    lines += [
        "",
        f"Reward model, {minutes(stages['reward'])} minutes: it prefers the chosen reply in"
        f" {shown(accuracy)} of {accuracy['n']:.0f} pairs whose prompts it has not seen.",
        "",
    ]
    return "\n".join(lines)


def details(summary: dict[str, Any], stage: dict[str, Any]) -> dict[str, Any]:
    """What a stage wrote beside its figures."""
    record = Path(summary["paths"]["folder"], "artifacts", stage["artifact"], "verdict.json")
    found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    return found


def minutes(stage: dict[str, Any]) -> str:
    """Wall time of a stage."""
    return f"{stage['seconds'] / 60:.1f}"


def shown(figure: dict[str, float], sign: str = "") -> str:
    """A figure with its interval."""
    return f"{figure['value']:{sign}.3f} [{figure['low']:{sign}.3f}, {figure['high']:{sign}.3f}]"


def main() -> None:
    """Run the recipe, or continue it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=PAGE)
    options = parser.parse_args()
    recipe = load(prepare(options.work), [f"seed={options.seed}"])
    result = run(recipe, options.work, progress=RichProgress())
    atomic.write_text(options.out, page(result.summary))
    print(options.out)


if __name__ == "__main__":
    main()
