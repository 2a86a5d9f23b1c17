"""A training set mixed by quality tier, synthetic share and task."""

from __future__ import annotations

from pydantic import Field

from burnish import flow
from burnish.config import ExampleRef, Settings
from burnish.records import Figure
from burnish.selection.mix import MixSettings
from burnish.selection.mix_parts import mix
from burnish.stages.base import Context, Inputs, Outcome


class Config(Settings):
    """Draw a training set from ``data``.

    ``part`` is the number of records a part; ``executor`` says who works on the parts.
    """

    data: list[ExampleRef] = Field(min_length=1)
    mix: MixSettings = MixSettings()
    part: int = Field(flow.PART_RECORDS, ge=1)
    executor: flow.Executor = flow.Executor()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``mixed.jsonl``."""
    # A stage that selected nothing has left an empty file.
    filled = [path for path in inputs.paths("data") if path.is_dir() or path.stat().st_size]
    mixed = mix(
        filled,
        context.output / "mixed.jsonl",
        context.scratch / "mix",
        config.mix,
        context.seed,
        flow.Means(config.executor, config.part, context.progress),
    )
    _, after = mixed.tiers()
    figures = {
        "examples": float(mixed.after.examples),
        "share_synthetic": after.synthetic,
        **{f"share_{tier}": share for tier, share in after.shares.items()},
    }
    exact = {name: Figure.exact(value) for name, value in figures.items()}
    return Outcome("data", exact, mixed.report())
