"""The trainer's own numbers about replies, before it trains on them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from burnish.models.forward import token_logprobs
from burnish.models.heads import ScalarHead, token_values
from burnish.text.batches import Batch

Score = Callable[[Batch], dict[str, Tensor]]


def scorer(
    model: PreTrainedModel,
    *,
    temperature: float,
    reference: Callable[[], AbstractContextManager[PreTrainedModel]] | None = None,
    head: ScalarHead | None = None,
) -> Score:
    """A function from a batch to ``logprobs``, ``ref_logprobs`` and ``values``, ``[N]`` each.

    Args:
        temperature: that of sampling; divides the logits of model and reference alike.
        reference: opens the model to compare with: ``lambda: adapters.reference(model)`` for an
            adapter, ``lambda: nullcontext(copy)`` for a frozen copy. None: no ``ref_logprobs``.
        head: of a critic that shares the model's trunk. None: no ``values``.
    """

    @torch.no_grad()
    def score(batch: Batch) -> dict[str, Tensor]:
        scores = token_logprobs(model, batch, temperature)
        found = {"logprobs": scores.logprobs}
        if head is not None:
            found["values"] = token_values(scores.hidden, head, batch)
        if reference is not None:
            with reference() as other:
                found["ref_logprobs"] = token_logprobs(other, batch, temperature).logprobs
        return found

    return score
