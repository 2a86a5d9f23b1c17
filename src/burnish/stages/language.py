"""What pre-training and supervised fine-tuning share: their segments and their loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from burnish.config import InputError, Problem
from burnish.engine import ranks
from burnish.models.divided import compute, is_divided
from burnish.models.forward import hidden, token_divergences, token_logprobs
from burnish.models.load import Loaded, load_model
from burnish.objectives import Loss, cross_entropy, held_to
from burnish.records import Document, Example
from burnish.stages import training
from burnish.stages.base import Inputs
from burnish.text.batches import Batch, Segment
from burnish.text.documents import document_segments
from burnish.text.templates import encode_many

ANCHOR = "general text teaches this model's next-token distributions, not the text"
SMOOTHING = "share of each target spread evenly over the vocabulary"


def conversations(loaded: Loaded, examples: Sequence[Example]) -> list[Segment]:
    """Examples as weighted segments; those over the model's context are left out.

    Raises:
        InputError: every example is longer than the model's context.
    """
    encoded = encode_many(loaded.tokenizer, [example.messages for example in examples])
    return training.fitting(
        loaded,
        [
            Segment(e.tokens, e.mask, example.id, per_segment=_streams(example.weight, False))
            for e, example in zip(encoded, examples, strict=True)
        ],
    )


def documents(
    loaded: Loaded,
    records: Sequence[Document],
    length: int,
    weight: float = 1.0,
    general: bool = False,
) -> list[Segment]:
    """Documents as segments of at most ``length`` tokens, every token a target.

    ``general`` marks text that an anchor, where there is one, teaches in its own words.
    """
    rows = document_segments(loaded.tokenizer, records, length)
    return [replace(row, per_segment=_streams(weight, general)) for row in rows]


def _streams(weight: float, general: bool) -> dict[str, float]:
    return {"weight": weight, "general": float(general)}


def load_anchor(inputs: Inputs, device: str, loaded: Loaded) -> PreTrainedModel | None:
    """The stage's ``anchor``, frozen, where it has one; raises as ``load_frozen``."""
    if inputs.optional_model("anchor") is None:
        return None
    return load_frozen(inputs, "anchor", device, loaded).model


def load_frozen(inputs: Inputs, name: str, device: str, loaded: Loaded) -> Loaded:
    """The model of the field ``name``, which the one that is trained is compared with; divided
    where that is.

    Raises:
        InputError: it does not predict the same tokens as ``loaded``, which is trained.
    """
    ref = inputs.model(name)
    frozen = load_model(ref, device=device, divide=is_divided(loaded.model))
    if frozen.tokenizer.get_vocab() != loaded.tokenizer.get_vocab():
        expected = "a model with the vocabulary of the one that is trained"
        raise InputError(Problem(ref, None, name, "another vocabulary", expected))
    frozen.model.eval().requires_grad_(False)
    return frozen


def language_loss(
    anchor: PreTrainedModel | None, label_smoothing: float = 0.0
) -> Callable[[PreTrainedModel, Batch], Loss]:
    """Cross-entropy of the targets, each weighted by its segment's ``weight``.

    With an ``anchor``, general text is not learnt as text: at each of its tokens the model is held
    to the anchor's whole next-token distribution, which says far more of what is to be kept than
    the one token that came (Li and Hoiem 2016, arXiv 1606.09282, learning without forgetting).
    """

    def told(model: PreTrainedModel, batch: Batch, states: Tensor | None = None) -> Loss:
        found = token_logprobs(model, batch, mean=label_smoothing > 0, states=states)
        return cross_entropy(
            found.logprobs, target_weights(batch), label_smoothing=label_smoothing, mean=found.mean
        )

    def kept(model: PreTrainedModel, batch: Batch, states: Tensor) -> Loss:
        assert anchor is not None
        if not batch.ids:
            return held_to(states.new_zeros(0), states.new_zeros(0))
        return held_to(token_divergences(model, anchor, batch, states), target_weights(batch))

    def both(model: PreTrainedModel, batch: Batch) -> Loss:
        # One pass whatever kinds of text there are: processes that share the model must pass it
        # equally often, and count the same metrics.
        states = hidden(model, batch)
        general = batch.per_segment["general"] > 0
        parts = [(batch.only(part), states[part[batch.segment]]) for part in (~general, general)]
        general_here = bool(parts[1][0].ids)
        if is_divided(anchor) and ranks.greatest(general_here) and not general_here:
            # Another process has general text now, and gathers the anchor's layers from all.
            with torch.no_grad():
                compute(anchor, hidden, batch)
        return told(model, *parts[0]) + kept(model, *parts[1])

    return told if anchor is None else both


def target_weights(batch: Batch) -> Tensor:
    """``[N]``: the weight of each target, that of its segment."""
    return batch.per_segment["weight"][batch.target_segments()]
