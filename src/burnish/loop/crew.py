"""One stage under several processes: the first runs the recipe, the others run its fit along.

Each process computes its share of every window; only the first reads the run folder, writes
artifacts and metrics, and speaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from burnish.config import BurnishError, Settings, process
from burnish.engine import SilentProgress, ranks
from burnish.loop.recipe import Recipe, StageCall
from burnish.stages import catalog
from burnish.stages.base import Context, Inputs, Outcome

SHARED = ("fit.pretrain", "fit.sft", "fit.reward", "fit.dpo")
"""Stages that several processes can run: their data do not come from the model in training."""
ALONE = "run it without torchrun"


@dataclass(frozen=True)
class Order:
    """What the first process tells the others to run."""

    stage: str
    config: Settings
    inputs: Inputs
    context: Context


def shareable(call: StageCall) -> bool:
    """Whether several processes can run a stage."""
    return call.run in SHARED and not _unshared(call)


def _unshared(call: StageCall) -> list[str]:
    """The settings of a stage that do not go with several processes."""
    config: Any = call.config
    found = []
    # How often a batch passes through the model depends, with an anchor, on whether it has general
    # text, and processes that pass unequally often would wait for each other for ever.
    if getattr(config, "anchor", None) is not None:
        found.append("anchor")
    # FSDP2 divides numbers, not packed bits.
    if getattr(config, "lora", None) is not None and config.lora.bits is not None:
        found.append("lora.bits")
    return found


def problems(recipe: Recipe) -> list[tuple[tuple[str | int, ...], str, str]]:
    """Why several processes cannot run a recipe: place, what was found, what was expected."""
    if process.count() == 1:
        return []
    if ranks.count() != process.count():
        expected = "several processes are for `torchrun ... -m burnish fit`, one stage at a time"
        return [((), f"{process.count()} processes", f"{expected}; {ALONE}")]
    found: list[tuple[tuple[str | int, ...], str, str]] = []
    for call in recipe.stages():
        if call.run not in SHARED:
            expected = f"several processes can run {', '.join(SHARED)}; {ALONE}"
            found.append((call.at, f"{call.run} under {process.count()} processes", expected))
        for name in _unshared(call):
            at = (*call.at, *name.split("."))
            found.append((at, "set, with several processes", ALONE))
    return found


def run(call: StageCall, inputs: Inputs, context: Context) -> Outcome:
    """Run a stage, and have the other processes run it along."""
    if ranks.count() > 1:
        quiet = replace(context, progress=SilentProgress())
        ranks.from_first(Order(call.run, call.config, inputs, quiet))
    return cast(Outcome, catalog.find(call.run).run(call.config, inputs, context))


def dismiss() -> None:
    """In the first process, at a good end: the others may go."""
    ranks.from_first(None)
    ranks.leave()


def follow() -> None:
    """In the other processes: run what the first one runs, until it is done.

    Raises:
        BurnishError: the first process ended otherwise.
    """
    while (order := _next()) is not None:
        catalog.find(order.stage).run(order.config, order.inputs, order.context)
    ranks.leave()


def _next() -> Order | None:
    try:
        return ranks.from_first(cast("Order | None", None))
    except RuntimeError as error:  # what torch raises when a connection is closed
        raise BurnishError("the first process ended") from error
