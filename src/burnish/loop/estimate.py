"""What the stages of a recipe need on given devices: memory, and time.

Computed: parameters, and every tensor that a step holds (``engine.rehearsal``), operations
(``engine.flops``). Taken from data sheets, or measured now on the CPU: what a device has. Assumed:
which share of it is used (``engine.devices``); replies as long as they may be; several devices
share a fit as FSDP2 does, without the time their network takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from burnish.config import is_served
from burnish.engine.devices import GIB, UTILISATION, Device
from burnish.engine.flops import Cost, cost
from burnish.loop.amounts import Replies, samples
from burnish.loop.crew import shareable
from burnish.loop.needs import Need, Needs, epochs
from burnish.loop.recipe import Recipe, StageCall
from burnish.models.adapters import LoraSettings
from burnish.models.outline import size_of
from burnish.sampling.cache import cell_bytes
from burnish.sampling.generate import BATCH_ROWS

LEAST_TOKENS = 512
REFERENCE = {"fit.dpo", "fit.kto"}
"""Stages that read their data once with the reference before they train."""


@dataclass(frozen=True)
class Estimate:
    """One stage, which runs ``times`` times at most; what follows is for each.

    ``need`` in bytes on each of ``devices``; ``instead`` what would make it fit;
    ``tokens`` trained on and ``replies`` written in all, None where the data are still to be made;
    ``tokens_per_second`` of all devices while it trains, or samples where it does not train;
    ``exchanged`` bytes that each device sends for a micro-batch."""

    part: str
    name: str
    stage: str
    devices: int
    parameters: int
    trained: int
    need: Need
    fits: bool
    instead: list[str]
    tokens: float | None
    replies: float
    tokens_per_second: float
    hours: float | None
    exchanged: int
    times: int = 1


@dataclass(frozen=True)
class Estimates:
    """All stages that compute, and what was assumed of the data."""

    device: Device
    devices: int
    stages: list[Estimate]
    how: str

    @property
    def tight(self) -> list[str]:
        """The stages that do not fit."""
        return [stage.name for stage in self.stages if not stage.fits]


def estimate(recipe: Recipe, device: Device, devices: int) -> Estimates:
    """What every stage with a model of this machine needs; served ones are left out.

    Raises:
        InputError: a model's config.json cannot be had, a data file that is there cannot be read,
            or a model's memory cannot be worked out without its weights.
    """
    needs = Needs(recipe, device.dtype)
    parts = [("once", call) for call in recipe.prepare]
    parts += [("each round", call) for call in recipe.round]
    count = recipe.header.rounds.count
    stages = [
        replace(_stage(part, call, needs, device, devices), times=1 if part == "once" else count)
        for part, call in parts
        if _computes(call.config, needs)
    ]
    return Estimates(device, devices, stages, needs.amounts.how)


def _computes(config: Any, needs: Needs) -> bool:
    works = hasattr(config, "train") or samples(config)
    return works and not is_served(needs.origin(config.model))


def _stage(part: str, call: StageCall, needs: Needs, device: Device, devices: int) -> Estimate:
    config: Any = call.config
    used = devices if shareable(call) else 1
    need, model = needs.of(config, used), needs.model(config)
    fits = need.total <= device.usable
    instead = [] if fits else list(_instead(call, needs, device, used))
    count = sum(parameter.numel() for parameter in model.model.parameters())
    trained = sum(p.numel() for p in model.trained) if hasattr(config, "train") else 0
    replies = needs.amounts.replies(config) if samples(config) else None
    writing = _writing(needs, config, replies, device, used) if replies else 0.0
    tokens: float | None = 0.0
    if hasattr(config, "train"):
        tokens, rate, seconds = _fitting(call, needs, device, used)
    else:
        assert replies is not None
        written = replies.count * replies.new
        rate, seconds = (written / writing, 0.0) if written else (0.0, None)
    hours = None if seconds is None else (seconds + writing) / 3600
    written_in_all = replies.count if replies else 0.0
    # Weights are gathered in forward and again in backward, gradients summed (FSDP).
    exchanged = 2 * model.weights + size_of(model.trained) if used > 1 else 0
    return Estimate(part, call.name, call.run, used, count, trained, need, fits, instead, tokens,
                    written_in_all, rate, hours, exchanged)  # fmt: skip


def _fitting(
    call: StageCall, needs: Needs, device: Device, devices: int
) -> tuple[float | None, float, float | None]:
    """Tokens in all, tokens a second, and seconds of the training in a fit."""
    config: Any = call.config
    lengths = needs.batches(config).lengths
    step, forward = _costs(needs, config)
    tokens = sum(lengths)
    passes = step.of_lengths(lengths, tokens) / tokens
    once = forward.of_lengths(lengths, tokens) / tokens
    if config.train.extras.checkpoint_activations:
        passes += once
    if getattr(config, "anchor", None) is not None:
        passes += once
    speed = device.flops * UTILISATION * devices
    size = needs.amounts.epoch(config)
    if size is None:
        return None, speed / passes, None
    total = epochs(config, size)
    before = 0.0
    if hasattr(config, "online"):
        # Each phase is scored once with the policy and once with the reference.
        before = 2 * once * size.tokens * config.online.phases
    elif call.run in REFERENCE:
        before = once * size.tokens
    return total, speed / passes, (total * passes + before) / speed


def _writing(needs: Needs, config: Any, replies: Replies, device: Device, devices: int) -> float:
    """Seconds of decoding: prompts at the speed of arithmetic; each token of a batch reads the
    weights and the cache once, or computes, whichever takes longer. Devices share the replies."""
    count = replies.count / devices
    model, (_, forward) = needs.model(config), _costs(needs, config)
    speed = device.flops * UTILISATION
    rows = min(BATCH_ROWS, count)
    cells = rows * (replies.prompt + replies.new / 2)
    read = (model.weights + cells * cell_bytes(model.model)) / device.bandwidth
    computed = rows * (forward.token + forward.target) / speed
    steps = math.ceil(count / BATCH_ROWS) * replies.new
    prompts = count * forward.of_lengths([replies.prompt], 1) / speed
    return prompts + steps * max(read, computed)


def _costs(needs: Needs, config: Any) -> tuple[Cost, Cost]:
    model = needs.model(config).model
    found = cost(model), cost(model, forward=True)
    assert found[0] is not None
    assert found[1] is not None
    return found[0], found[1]


def _instead(call: StageCall, needs: Needs, device: Device, devices: int) -> Iterator[str]:
    """Changes after which a stage fits, one at a time and two where one does not do; the size of a
    device that would where none does."""
    least = needs.of(call.config, devices).total
    found = False
    for name, changed, count in _changes(call, devices):
        for label, config in ((name, changed), (f"{name} with {AGAIN}", _again(changed))):
            if label == f"{AGAIN} with {AGAIN}":
                continue
            total = needs.of(config, count).total
            least = min(least, total)
            if total <= device.usable:
                found = True
                yield label
                break
        if found and count > devices:
            break
    if not found:
        yield f"none of burnish's settings; a device with {least / device.share / GIB:,.0f} GiB"


AGAIN = "checkpoint_activations"


def _changes(call: StageCall, devices: int) -> Iterator[tuple[str, Any, int]]:
    """Names of changes, the settings and devices with each; gentle ones first."""
    config: Any = call.config
    if not hasattr(config, "train"):
        return
    yield AGAIN, _again(config), devices
    if config.train.tokens_per_batch > LEAST_TOKENS:
        train = config.train.model_copy(update={"tokens_per_batch": LEAST_TOKENS})
        name = f"tokens_per_batch {LEAST_TOKENS}"
        yield name, config.model_copy(update={"train": train}), devices
    if config.lora is None:
        yield "LoRA", config.model_copy(update={"lora": LoraSettings()}), devices
    if shareable(call):
        for count in (2 * devices, 8 * devices, 64 * devices):
            yield f"{count} devices", config, count


def _again(config: Any) -> Any:
    extras = config.train.extras.model_copy(update={AGAIN: True})
    return config.model_copy(update={"train": config.train.model_copy(update={"extras": extras})})
