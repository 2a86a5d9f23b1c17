"""One stage under several processes: the first runs the recipe, the others run its fit along.

Each process computes its share of every window; only the first reads the run folder, writes
artifacts and metrics, and speaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from burnish.config import BurnishError, Settings, process
from burnish.engine import SilentProgress, ranks
from burnish.loop.recipe import Recipe, StageCall
from burnish.stages import catalog
from burnish.stages.base import Context, Inputs, Outcome

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
    return call.run.startswith("fit.") and not _quantised(call)


def _quantised(call: StageCall) -> bool:
    """Whether a stage trains over quantised weights: FSDP2 divides numbers, not packed bits."""
    lora = getattr(call.config, "lora", None)
    return lora is not None and lora.bits is not None


def problems(recipe: Recipe) -> list[tuple[tuple[str | int, ...], str, str]]:
    """Why several processes cannot run a recipe: place, what was found, what was expected."""
    if process.count() == 1:
        return []
    if ranks.count() != process.count():
        expected = "several processes are for `torchrun ... -m burnish fit`, one stage at a time"
        return [((), f"{process.count()} processes", f"{expected}; {ALONE}")]
    return [
        ((*call.at, "lora", "bits"), "set, with several processes", ALONE)
        for call in recipe.stages()
        if _quantised(call)
    ]


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
