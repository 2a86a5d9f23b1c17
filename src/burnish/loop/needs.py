"""The memory that a stage needs on each device, at its fullest moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from burnish.config import is_served, references
from burnish.engine.rehearsal import StepMemory, rehearse
from burnish.loop.amounts import UNKNOWN_LENGTH, Amounts, Size, samples
from burnish.loop.recipe import Recipe
from burnish.loop.references import locate, split
from burnish.models.adapters import LoraSettings
from burnish.models.divided import FILE, layers
from burnish.models.outline import Outline, outline, size_of
from burnish.sampling.cache import context_length
from burnish.sampling.generate import BATCH_ROWS
from burnish.sampling.rehearsal import rehearse_replies


@dataclass(frozen=True)
class Need:
    """Bytes on one device at the fullest ``moment``, by what they are for."""

    moment: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Batches:
    """The segments of a full micro-batch, and whether a window has ``several`` of them."""

    lengths: tuple[int, ...]
    several: bool


class Needs:
    """Works out needs on devices that compute in ``dtype``; what was rehearsed is remembered."""

    def __init__(self, recipe: Recipe, dtype: torch.dtype) -> None:
        self.recipe, self.dtype = recipe, dtype
        self.amounts = Amounts(recipe)
        self._stages = {call.name: call.config for call in recipe.stages()}
        self._outlines: dict[Any, Outline] = {}
        self._steps: dict[Any, StepMemory] = {}

    def origin(self, ref: str) -> str:
        """The model, not made in this recipe, that a reference goes back to."""
        seen: set[str] = set()
        while ref.startswith("@") and ref != "@base" and ref not in seen:
            seen.add(ref)
            name = split(ref)[0]
            champion = self.recipe.header.rounds.champion
            ref = champion if name == "champion" else self._stages[name].model  # type: ignore[attr-defined]
        found = self.recipe.header.model if ref.startswith("@") else ref
        return locate(found, self.recipe.file.parent)

    def outline(self, ref: str, lora: LoraSettings | None = None, beside: str = "") -> Outline:
        """A model's outline; ``beside`` another model's, so that both can meet in one loss."""
        key = (self.origin(ref), None if lora is None else lora.model_dump_json(), beside)
        if key not in self._outlines:
            fake = next((o.fake for o in self._outlines.values()), None)
            self._outlines[key] = outline(key[0], self.dtype, lora, fake)
        return self._outlines[key]

    def model(self, config: Any) -> Outline:
        """The outline of a stage's model, with its adapter."""
        return self.outline(config.model, getattr(config, "lora", None))

    def of(self, config: Any, devices: int) -> Need:
        """The fullest moment of a stage."""
        moments = []
        held: dict[str, int] = {"weights": self.model(config).weights}
        frozen = self._frozen(config, devices)
        if hasattr(config, "train"):
            step = self.step(config)
            copies = self._copies(config)
            training = self._training(config, step, copies, devices)
            moments.append(Need("training", training | frozen))
            held |= {"optimizer": step.optimizer // devices, "copies": copies // devices}
            if devices > 1 and divides(config):
                moments += divided_moments(self.model(config), devices, training, frozen)
            elif devices > 1:
                # Loading, evaluating, sampling and saving have the whole model on every device.
                held["shares"] = held["weights"] // devices
                moments.append(Need("evaluating", held | frozen))
        if samples(config):
            moments.append(Need("sampling", held | frozen | self._decoding(config)))
        return max(moments, key=lambda need: need.total)

    def step(self, config: Any) -> StepMemory:
        """One step of a fit on one device."""
        batches = self.batches(config)
        recompute = config.train.extras.checkpoint_activations
        model = self.model(config)
        anchor = getattr(config, "anchor", None) or getattr(config, "teacher", None)
        key = (id(model), batches, recompute, anchor and self.origin(anchor))
        if key not in self._steps:
            self._steps[key] = rehearse(
                model,
                batches.lengths,
                several=batches.several,
                recompute=recompute,
                anchor=self.outline(anchor, beside="loss") if anchor else None,
            )
        return self._steps[key]

    def batches(self, config: Any) -> Batches:
        """The largest micro-batch of a fit, of segments of middling length."""
        train, limit = config.train, context_length(self.model(config).model)
        size = self.amounts.epoch(config)
        if size is None:
            length = getattr(config, "sequence_length", UNKNOWN_LENGTH)
            tokens, several = train.tokens_per_batch, True
        else:
            longest = min(size.longest, limit)
            length = size.mean / (2 if _pairs(config) else 1)
            window = _segments(config) * longest
            if train.tokens_per_step is not None:
                window = train.tokens_per_step + longest
            tokens = round(max(longest, min(train.tokens_per_batch, window)))
            several = window > tokens
        length = min(max(8, round(length)), limit, tokens)
        full, rest = divmod(tokens, length)
        return Batches((length,) * full + ((rest,) if rest > 1 else ()), several)

    def _training(self, config: Any, step: StepMemory, copies: int, devices: int) -> dict[str, int]:
        # An adapter put into a divided model is not divided itself.
        shared = 1 if config.lora is not None and divides(config) else devices
        parts = {
            "weights": step.weights // devices,
            "gradients": step.gradients // shared,
            "optimizer": step.optimizer // shared,
            "copies": copies // shared,
            "activations": step.activations,
            "work": step.head,
        }
        if getattr(getattr(config, "critic", None), "trunk", "shared") == "own":
            # A second model in training, which every process holds whole, and its marked copy.
            kept = size_of(self.model(config).trained)
            parts["critic"] = step.weights + step.gradients + step.optimizer + kept
        if devices > 1:
            parts["gathered"] = gathered(self.model(config))
        return parts

    def _copies(self, config: Any) -> int:
        """Sets of trained weights kept beside those in training (``engine.train``): marked ones
        where a bound watches, the best where it is measured on the way, averaged ones."""
        trained = self.model(config).trained
        watched = hasattr(config, "online") or (
            hasattr(config, "guard") and (config.heldout is not None or len(config.guard.tasks) > 0)
        )
        best = not watched and config.train.eval_every > 0 and bool(config.heldout)
        copies = size_of(trained) * (watched + best)
        if config.train.extras.ema > 0:
            copies += 4 * sum(parameter.numel() for parameter in trained)  # float32
        return copies

    def _frozen(self, config: Any, devices: int) -> dict[str, int]:
        """Other models a stage holds: anchor, reward model, reference. Only the anchor of a divided
        model is divided too, but for what lies outside its layers."""
        refs = [
            ref for path, ref, mark in references(config)
            if mark.kind == "model" and path != ("model",) and not is_served(self.origin(ref))
        ]  # fmt: skip
        models = [self.outline(ref) for ref in refs]
        total = sum(model.weights for model in models)
        if divides(config) and devices > 1:
            outside = sum(size_of(_parts(model)[0]) for model in models)
            total = total // devices + outside
        if hasattr(config, "online") and config.lora is None:
            total += self.model(config).weights
        return {"frozen": total}

    def _decoding(self, config: Any) -> dict[str, int]:
        replies = self.amounts.replies(config)
        rows = round(min(BATCH_ROWS, replies.count or BATCH_ROWS))
        found = rehearse_replies(self.model(config), rows, round(replies.prompt), replies.new)
        return {"cache": found.cache, "work": found.working}


def divides(config: Any) -> bool:
    """Whether no device of several has to hold a stage's model whole."""
    return bool(getattr(config, "divides", False))


def divided_moments(
    model: Outline, devices: int, training: Mapping[str, int], frozen: Mapping[str, int]
) -> list[Need]:
    """What a divided model needs while it is loaded and while it is saved.

    The check of what was loaded is a pass. While the model is saved the first device holds the
    tensors of a file, and one more, in parts and put together.
    """
    share = {"weights": model.weights // devices, **frozen}
    tensor = max(size_of([weight]) for weight in model.model.parameters())
    file = min(model.weights, max(FILE, tensor))
    saving = {name: training.get(name, 0) for name in ("optimizer", "copies")}
    return [
        Need("loading", share | {"gathered": _for_a_pass(model)}),
        Need("saving", share | saving | {"file": file, "gathered": 2 * tensor}),
    ]


def gathered(model: Outline) -> int:
    """Bytes that several devices gather for a moment while they train with FSDP2: for a pass, and
    gradients, which are whole until they are summed over the devices."""
    gradients = [w for part in _parts(model) for w in part if w.requires_grad]
    return _for_a_pass(model) + size_of(gradients)


def _for_a_pass(model: Outline) -> int:
    """What lies outside the layers is gathered for the whole pass, layers one at a time: as they
    are computed with, as they arrived, and as the one before arrived, which is kept so long."""
    outside, largest = _parts(model)
    return size_of(outside) + 3 * size_of(largest)


def _parts(model: Outline) -> tuple[list[Tensor], list[Tensor]]:
    """The weights outside the layers, and those of the largest layer."""
    inside = [list(layer.parameters()) for layer in layers(model.model)]
    ids = {id(weight) for part in inside for weight in part}
    outside: list[Tensor] = [w for w in model.model.parameters() if id(w) not in ids]
    return outside, [*max(inside, key=size_of, default=[])]


def _segments(config: Any) -> int:
    """Segments of the largest window: a curriculum may give one for each tier."""
    sizes = getattr(config, "curriculum", None)
    largest: int = max(
        [config.train.segments_per_step, *(sizes.values() if isinstance(sizes, dict) else ())]
    )
    return largest


def _pairs(config: Any) -> bool:
    # Pairs beside a policy's own replies are in micro-batches of their own.
    kinds = {m.records for path, _, m in references(config) if path[0] != "preferences"}
    return "preference" in kinds


def epochs(config: Any, size: Size) -> float:
    """Tokens that a fit trains on in all, for every member of an ensemble."""
    train, members = config.train, getattr(config, "members", 1)
    times = train.epochs * (config.online.phases if hasattr(config, "online") else 1)
    tokens: float = size.tokens * times
    if train.max_steps is None:
        return members * tokens
    window: float = train.tokens_per_step or train.segments_per_step * size.mean
    most: float = train.max_steps * window
    return members * min(tokens, most)
