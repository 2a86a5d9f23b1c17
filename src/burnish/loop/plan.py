"""What a run would do, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from burnish.config import is_served, references
from burnish.loop.recipe import Recipe, StageCall
from burnish.loop.references import locate
from burnish.sampling import address
from burnish.stages import catalog


@dataclass(frozen=True)
class StagePlan:
    """One row of a plan. ``makes`` is what the stage is for, from its own documentation;
    ``mib`` the size of the data files it reads that exist already."""

    part: str
    name: str
    stage: str
    makes: str
    inputs: dict[str, str]
    mib: float


def plan(recipe: Recipe) -> list[StagePlan]:
    """The stages in order; those of a round stand once, with how often they run at most.

    Raises:
        InputError: the address of a served model is none.
    """
    times = recipe.header.rounds.count
    return [_row("once", call, recipe) for call in recipe.prepare] + [
        _row(f"each of {times} rounds", call, recipe) for call in recipe.round
    ]


def _row(part: str, call: StageCall, recipe: Recipe) -> StagePlan:
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
    return StagePlan(part, call.name, call.run, about, inputs, round(size / 2**20, 2))
