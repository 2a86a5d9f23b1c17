"""Direct preference optimisation and its family, against the model it starts from."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import Tensor

from burnish.config import InputError, ModelRef, PreferenceRef, Problem, Settings
from burnish.engine import DatasetSource, TrainSettings
from burnish.models.adapters import LoraSettings
from burnish.models.forward import segment_counts, segment_sums, token_logprobs
from burnish.objectives import SOFT, Loss, PreferenceKind, preference
from burnish.records import Figure, Preference
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.reference import with_reference
from burnish.stages.training import PROBABILITY
from burnish.text.batches import Batch, Segment
from burnish.text.templates import end_tokens

CONTENT = "content"


class Config(Settings):
    """Train ``model`` on ``data`` pairs; the reference is ``model`` as it comes in.

    ``kind`` names the objective, see ``burnish.objectives.preference``; ``nll`` adds the
    likelihood of the chosen reply, which keeps it from falling together with the rejected one.
    ``mask_format`` leaves the control tokens of both replies (end of turn, headers) out of the
    preference, which would have to raise and lower them at once (Llama 3, arXiv 2407.21783,
    section 4.1.4); the likelihood that ``nll`` adds still has them. Pairs with a ``probability``
    below 1 are soft labels, which the kinds dpo and dpo_norm can learn from.
    """

    model: ModelRef
    data: list[PreferenceRef]
    kind: PreferenceKind = "dpo"
    beta: PositiveFloat = 0.1
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    gamma: NonNegativeFloat = 0.0
    nll: NonNegativeFloat = 0.0
    mask_format: bool = False
    heldout: float = Field(0.1, ge=0, lt=1)
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(learning_rate=1e-4, segments_per_step=32)

    @property
    def divides(self) -> bool:
        """Whether several processes do without anyone holding the whole model."""
        return training.divisible(self.lora)


def loss(model: Any, batch: Batch, config: Config) -> Loss:
    """The preference loss of a batch of [chosen, rejected] segments in turn."""
    logprobs = token_logprobs(model, batch).logprobs
    sums, lengths = compared(logprobs, batch)
    reference = batch.per_segment["reference"]
    whole = segment_sums(logprobs, batch) / segment_counts(batch)
    soft = batch.per_segment.get(PROBABILITY)
    return preference(
        config.kind,
        sums[0::2],
        sums[1::2],
        reference[0::2],
        reference[1::2],
        chosen_length=lengths[0::2],
        rejected_length=lengths[1::2],
        chosen_mean=whole[0::2],
        probability=soft[0::2] if soft is not None and config.kind in SOFT else None,
        beta=config.beta,
        label_smoothing=config.label_smoothing,
        gamma=config.gamma,
        nll=config.nll,
    )


def compared(logprobs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probability and number of the tokens that the preference is about, ``[S]`` each."""
    if CONTENT not in batch.per_token:
        return segment_sums(logprobs, batch), segment_counts(batch)
    content = batch.at_targets(CONTENT)
    return segment_sums(logprobs * content, batch), segment_sums(content, batch).clamp(min=1)


def without_format(tokenizer: Any, units: Sequence[list[Segment]]) -> list[list[Segment]]:
    """The units with a stream that is 0 at control tokens and 1 at the replies' own words."""
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    controls = special | end_tokens(tokenizer)
    return [
        [
            replace(one, per_token={CONTENT: [float(i not in controls) for i in one.tokens]})
            for one in unit
        ]
        for unit in units
    ]


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Train on the pairs and save the policy.

    Raises:
        InputError: pairs have soft labels, and the kind cannot learn from them.
    """
    records = training.read_all(inputs.paths("data"), Preference)
    soft = sum(record.probability < 1 for record in records)
    if soft and config.kind not in SOFT:
        found = f"{config.kind!r}, but {soft} of {len(records)} pairs have a probability below 1"
        raise InputError(Problem("", None, "kind", found, f"one of {', '.join(sorted(SOFT))}"))
    loaded = training.load_policy(inputs, context, config.lora, divide=config.divides)
    loaded.model.eval()
    kept, heldout = training.split_heldout(records, config.heldout, context.seed)
    parts = [training.pairs(loaded, part) for part in (kept, heldout)]
    if config.mask_format:
        parts = [without_format(loaded.tokenizer, part) for part in parts]
    size = config.train.tokens_per_batch
    units, held = with_reference(
        loaded.model, parts, size, context.cache, lambda *of: compared(*of)[0]
    )
    objective = functools.partial(loss, config=config)
    result, before, after = training.fit_between(
        loaded.model,
        DatasetSource(units, config.train, seed=context.seed),
        objective,
        config.train,
        context,
        training.measured(loaded.model, held, objective, size) if held else None,
    )
    details = {
        "pairs": len(units),
        "soft_labels": soft,
        "heldout": len(held),
        "too_long": len(records) - len(units) - len(held),
        "before": before,
        "after": after,
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss", "accuracy", "margin"]),
    }
    figures = training.fit_figures(result)
    if held:
        figures["heldout_accuracy"] = Figure.exact(after["eval_accuracy"])
    training.save_policy(loaded, context, training.card("fit.dpo", inputs, details))
    return Outcome("model", figures, details)
