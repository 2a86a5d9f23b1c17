"""Inputs for the recipe ``frontier`` from the quickstart's data, and what makes it small."""

from __future__ import annotations

from pathlib import Path

from burnish.records import Example
from burnish.store import tables

QUICK = "burnish:quickstart/"
GIVEN = {
    "model": "burnish-tiny",
    "domain": f"[{QUICK}atlas_docs.jsonl.gz]",
    "general": f"[{QUICK}general.jsonl.gz]",
    "heldout": f"{QUICK}general_heldout.jsonl.gz",
    "instructions": f"[{QUICK}sft.jsonl.gz]",
    "prompts": f"[{QUICK}rl_prompts.jsonl.gz]",
    "safety_prompts": f"[{QUICK}guard_train.jsonl.gz]",
    "capability": f"[{QUICK}dev/form.jsonl.gz]",
    "safety": f"[{QUICK}dev/guard_harmful.jsonl.gz]",
    "over_refusal": f"[{QUICK}dev/guard_benign.jsonl.gz]",
    "probe": f"[{QUICK}dev/atlas_seen.jsonl.gz]",
}
EVALUATIONS = ("evaluate_before", "evaluate")
SMALL = [
    "rounds.count=1",
    "prepare.post_pretraining.sequence_length=128",
    "prepare.post_pretraining.train={tokens_per_step: 1024, max_steps: 2}",
    "prepare.instruction_tuning.limit=64",
    "prepare.instruction_tuning.sequence_length=128",
    "prepare.instruction_tuning.train={learning_rate: 0.002, segments_per_step: 16, max_steps: 3}",
    "round.generate.limit=24",
    "round.generate.candidates=[{temperature: 0.3, top_p: 0.9, max_new_tokens: 24},"
    " {temperature: 0.7, top_p: 0.9, max_new_tokens: 24},"
    " {temperature: 1.0, top_p: 0.9, max_new_tokens: 24}]",
    "round.pyramid.mix.count=40",
    "round.reward.train={segments_per_step: 4, max_steps: 1}",
    "round.preference_optimization.train={segments_per_step: 4, max_steps: 1}",
    "round.constitution.limit=12",
    "round.constitution.sampling={max_new_tokens: 16}",
    "round.safety_alignment.sequence_length=128",
    "round.safety_alignment.train={segments_per_step: 8, max_steps: 1}",
    "round.capability_enhancement.sampling={max_new_tokens: 16}",
    "round.capability_enhancement.online={phases: 1, prompts_per_phase: 4, per_prompt: 2}",
    "round.capability_enhancement.train={segments_per_step: 4, schedule: constant}",
    *(f"round.{name}.sampling.max_new_tokens=16" for name in EVALUATIONS),
    *(f"round.{name}.efficiency={{prompt_tokens: 16, new_tokens: 4, repeats: 2, warmup: 0}}"
      for name in EVALUATIONS),
    "round.probe.max_new_tokens=16",
]  # fmt: skip


def given(**changes: str) -> list[str]:
    """Overrides that give every input."""
    return [f"inputs.{name}={value}" for name, value in (GIVEN | changes).items()]


def pyramid(folder: Path) -> str:
    """The quickstart's instructions with tiers and synthetic marks that a pyramid can be made of.

    Of each twenty one is expert, five are selected and fourteen bulk; three of four are marked as
    written by machines.
    """
    from burnish.loop.references import ASSETS

    read = tables.read(ASSETS / "quickstart" / "sft.jsonl.gz", Example)
    rows = [
        Example(**{**vars(row), "tier": ("expert", *["selected"] * 5, *["bulk"] * 14)[n % 20],
                   "synthetic": n % 4 > 0})
        for n, row in enumerate(read[:600])
    ]  # fmt: skip
    tables.write(folder / "instructions.jsonl", rows)
    return f"[{folder / 'instructions.jsonl'}]"
