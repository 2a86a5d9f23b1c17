"""What a run would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import is_served, references
from burnish.loop.amounts import Amounts, samples
from burnish.loop.needs import epochs
from burnish.loop.recipe import Recipe, StageCall
from burnish.loop.references import locate
from burnish.sampling import address
from burnish.stages import catalog


@dataclass(frozen=True)
class StagePlan:
    """One row of a plan. ``makes`` is what the stage is for, from its own documentation; ``mib``
    the size of the data files it reads that exist already; ``times`` how often it runs at most.

    ``tokens`` it trains on each time, None where that depends on data still to be made (0 where
    it does not train); ``replies`` it has written each time, of prompts that are there already.
    """

    part: str
    name: str
    stage: str
    makes: str
    inputs: dict[str, str]
    mib: float
    times: int
    tokens: float | None
    replies: float


def plan(recipe: Recipe) -> list[StagePlan]:
    """The stages in order; those of a round stand once, with how often they run at most.

    Raises:
        InputError: the address of a served model is none, or a data file cannot be read.
    """
    times, amounts = recipe.header.rounds.count, Amounts(recipe)
    return [_row("once", 1, call, recipe, amounts) for call in recipe.prepare] + [
        _row(f"each of {times} rounds", times, call, recipe, amounts) for call in recipe.round
    ]


def _row(part: str, times: int, call: StageCall, recipe: Recipe, amounts: Amounts) -> StagePlan:
    config: Any = call.config
    inputs: dict[str, str] = {}
    size = 0
    for path, ref, mark in references(call.config):
        if is_served(ref):
            address.parse(ref)  # refuses what may hold a secret
        inputs[".".join(str(step) for step in path)] = ref
        file = Path(locate(ref, recipe.file.parent))
        if mark.kind == "data" and file.is_file():
            size += file.stat().st_size
    about = (catalog.find(call.run).__doc__ or "").strip().splitlines()[0]
    tokens: float | None = 0.0
    if hasattr(config, "train"):
        epoch = amounts.epoch(config)
        tokens = epochs(config, epoch) if epoch is not None else None
    replies = amounts.replies(config).count if samples(config) else 0.0
    mib = round(size / 2**20, 2)
    return StagePlan(part, call.name, call.run, about, inputs, mib, times, tokens, replies)
