"""KTO: preference training on single replies marked desirable or undesirable."""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from burnish.config import FeedbackRef, InputError, ModelRef, PreferenceRef, Problem, Settings
from burnish.engine import DatasetSource, TrainSettings, ranks
from burnish.engine.state import aside
from burnish.models.adapters import LoraSettings
from burnish.models.forward import segment_sums, token_logprobs
from burnish.models.load import Loaded
from burnish.objectives import Loss, kto, kto_baseline, mismatched
from burnish.records import Feedback, Message, Preference, content_id
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.reference import with_reference
from burnish.text.batches import Batch, Segment, pack

log = logging.getLogger(__name__)

BALANCED = (1.0, 4 / 3)
PLACE = "place"


class Config(Settings):
    """Train ``model`` on replies that were liked or not; the reference is ``model`` as it comes in.

    ``data`` is feedback on single replies, ``pairs`` are preferences, each split into a desirable
    and an undesirable reply; either may be left out. Ethayarajh et al. 2024 (arXiv 2402.01306)
    advise weights with which ``desirable_weight`` times the number of desirable replies is 1 to
    4/3 times the same of the undesirable ones; outside of that the stage warns.
    """

    model: ModelRef
    data: list[FeedbackRef] = []
    pairs: list[PreferenceRef] = []
    beta: PositiveFloat = 0.1
    desirable_weight: PositiveFloat = 1.0
    undesirable_weight: PositiveFloat = 1.0
    heldout: float = Field(0.1, ge=0, lt=1)
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(learning_rate=1e-4, segments_per_step=32)

    @model_validator(mode="after")
    def _given(self) -> Self:
        if not self.data and not self.pairs:
            raise ValueError("data or pairs is needed: there is nothing to train on")
        if self.train.segments_per_step < 2:
            raise ValueError("train.segments_per_step must be at least 2: the reference point of "
                             "KTO is a mean over the replies of a step")  # fmt: skip
        return self


def split(pair: Preference) -> list[Feedback]:
    """A preference as a desirable and an undesirable reply, kept together by ``group``."""
    return [
        Feedback(
            id=f"{pair.id}:{side}",
            source=pair.source,
            lang=pair.lang,
            tier=pair.tier,
            synthetic=pair.synthetic,
            parents=(pair.id,),
            prompt=pair.prompt,
            completion=reply,
            label=side == "chosen",
            task=pair.task,
            topic=pair.topic,
            group=pair.group or pair.id,
        )
        for side, reply in (("chosen", pair.chosen), ("rejected", pair.rejected))
    ]


def balance(records: Sequence[Feedback], config: Config) -> float:
    """Weighted desirable over weighted undesirable replies; warns outside of ``BALANCED``.

    Raises:
        InputError: there are only desirable or only undesirable replies.
    """
    good = sum(record.label for record in records)
    bad = len(records) - good
    if not good or not bad:
        found = f"{good} desirable and {bad} undesirable replies"
        raise InputError(Problem("", None, "data", found, "some of both"))
    ratio = config.desirable_weight * good / (config.undesirable_weight * bad)
    low, high = BALANCED
    if not low <= ratio <= high:
        log.warning(
            "fit.kto: %d desirable and %d undesirable replies, weighted %.2f to 1; advised are "
            "1 to 1.33, such as desirable_weight: %.3g",
            *(good, bad, ratio, config.undesirable_weight * bad / good),
        )
    return ratio


def others_of(records: Sequence[Feedback]) -> list[list[Message]]:
    """For each reply one to another prompt, with which the reference point is estimated.

    Raises:
        InputError: all replies are to a single prompt.
    """
    try:
        order = mismatched([record.prompt for record in records])
    except ValueError:
        found = f"{len(records)} replies to a single prompt"
        expected = "at least two prompts: KTO compares with replies to another one"
        raise InputError(Problem("", None, "data", found, expected)) from None
    return [records[index].completion for index in order]


def units_of(
    loaded: Loaded, records: Sequence[Feedback], others: Sequence[list[Message]]
) -> list[list[Segment]]:
    """[the reply, the other one after the same prompt] as segments, ``desirable`` 1 or 0.

    Raises:
        InputError: all of them are longer than the model's context.
    """
    rows = [(r.id, r.prompt, r.completion, other) for r, other in zip(records, others, strict=True)]
    return training.twofold(loaded, rows, [{"desirable": float(r.label)} for r in records])


def apart(units: Sequence[list[Segment]]) -> tuple[list[Segment], list[Segment]]:
    """The replies, each with its place as a stream, and at that place the other one."""
    own = [
        replace(unit[0], per_segment={**unit[0].per_segment, PLACE: float(place)})
        for place, unit in enumerate(units)
    ]
    return own, [unit[1] for unit in units]


def with_baseline(model: Any, others: Sequence[Segment], window: Sequence[Batch]) -> list[Batch]:
    """The batches of a window with the stream ``baseline``, the reference point of KTO.

    It is estimated from the ``others`` of all replies of the window, of which several processes
    compute some each.
    """
    device = next(model.parameters()).device

    def scored(part: Sequence[Batch]) -> list[tuple[Tensor, Tensor]]:
        found = []
        for batch in part:
            places = batch.per_segment[PLACE].int().tolist()
            other = pack([others[place] for place in places], device)
            sums = segment_sums(token_logprobs(model, other).logprobs, other)
            found.append((sums.cpu(), other.per_segment["reference"].cpu()))
        return found

    with aside(model):
        policy, reference = zip(*ranks.shared_out(window, scored), strict=True)
    baseline = kto_baseline(torch.cat(policy), torch.cat(reference))
    points = [baseline.to(batch.device).expand(len(batch.ids)) for batch in window]
    return [
        replace(batch, per_segment={**batch.per_segment, "baseline": point})
        for batch, point in zip(window, points, strict=True)
    ]


class KtoSource(DatasetSource):
    """Windows of replies, each with the reference point of the model as it is at that step.

    The point is that of the whole window, so that cutting it into micro-batches changes nothing.

    Args:
        units: [reply, other reply] segments with their ``reference``.
    """

    def __init__(
        self, model: Any, units: Sequence[list[Segment]], settings: TrainSettings, *, seed: int
    ) -> None:
        own, self._others = apart(units)
        super().__init__(own, settings, seed=seed)
        self._model = model

    def asks_model(self, step: int) -> bool:
        """At every step."""
        return True

    def window(self, step: int) -> list[Batch] | None:
        """As the base class, with ``baseline``."""
        window = super().window(step)
        return None if window is None else with_baseline(self._model, self._others, window)


def loss(model: Any, batch: Batch, config: Config) -> Loss:
    """The KTO loss of a batch of replies with their reference and baseline."""
    return kto(
        segment_sums(token_logprobs(model, batch).logprobs, batch),
        batch.per_segment["reference"],
        batch.per_segment["desirable"] > 0,
        batch.per_segment["baseline"][0],
        beta=config.beta,
        desirable_weight=config.desirable_weight,
        undesirable_weight=config.undesirable_weight,
    )


def read(inputs: Inputs, seed: int) -> list[Feedback]:
    """All feedback in random order, that of pairs too; replies to one prompt are one group."""
    records = training.read_all(inputs.paths("data"), Feedback)
    records = [replace(one, group=one.group or content_id(one.prompt)) for one in records]
    pairs = training.read_all(inputs.paths("pairs"), Preference)
    records += [half for pair in pairs for half in split(pair)]
    random.Random(seed).shuffle(records)
    return records


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Train on the feedback and save the policy."""
    records = read(inputs, context.seed)
    ratio = balance(records, config)
    kept, heldout = training.split_heldout(records, config.heldout, context.seed)
    others = others_of(kept + heldout)
    loaded = training.load_policy(inputs, context, config.lora)
    loaded.model.eval()
    parts = [
        units_of(loaded, kept, others[: len(kept)]),
        units_of(loaded, heldout, others[len(kept) :]),
    ]
    size = config.train.tokens_per_batch
    units, held = with_reference(loaded.model, parts, size, context.cache)
    objective = functools.partial(loss, config=config)
    own, other = apart(held)
    evaluate = training.measured(
        loaded.model,
        own,
        objective,
        size,
        prepare=functools.partial(with_baseline, loaded.model, other),
    )
    result, before, after = training.fit_between(
        loaded.model,
        KtoSource(loaded.model, units, config.train, seed=context.seed),
        objective,
        config.train,
        context,
        evaluate if held else None,
    )
    details = {
        "replies": len(units),
        "heldout": len(held),
        "too_long": len(records) - len(units) - len(held),
        "balance": ratio,
        "before": before,
        "after": after,
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss", "desirable_reward", "undesirable_reward"]),
    }
    training.save_policy(loaded, context, training.card("fit.kto", inputs, details))
    return Outcome("model", training.fit_figures(result), details)
