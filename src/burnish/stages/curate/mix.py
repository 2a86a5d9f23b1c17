"""A training set mixed by quality tier, synthetic share and task."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from pydantic import Field

from burnish.config import ExampleRef, Settings
from burnish.records import Example, Figure
from burnish.selection.mix import MixSettings, mix
from burnish.selection.pyramid import tier_report
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.store import tables


class Config(Settings):
    """Draw a training set from ``data``."""

    data: list[ExampleRef] = Field(min_length=1)
    mix: MixSettings = MixSettings()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``mixed.jsonl``."""
    # A stage that selected nothing has left an empty file.
    filled = [path for path in inputs.paths("data") if path.is_dir() or path.stat().st_size]
    examples = training.read_all(filled, Example)
    mixed = mix(examples, config.mix, context.seed)
    tables.write(context.output / "mixed.jsonl", mixed)
    before, after = tier_report(examples), tier_report(mixed, config.mix.tiers or None)
    details = {
        "examples": len(mixed),
        "before": asdict(before),
        "after": asdict(after),
        "tasks_before": dict(Counter(one.task for one in examples)),
        "tasks_after": dict(Counter(one.task for one in mixed)),
    }
    shares = {f"share_{tier}": share for tier, share in after.shares.items()}
    figures = {"examples": float(len(mixed)), "share_synthetic": after.synthetic, **shares}
    return Outcome("data", {name: Figure.exact(value) for name, value in figures.items()}, details)
