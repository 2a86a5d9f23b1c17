"""The trainer's own numbers about replies, before it trains on them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from burnish.models.forward import in_pieces, logits, token_logprobs
from burnish.models.heads import Critic
from burnish.sampling.draw import kept_mass
from burnish.text.batches import Batch

Score = Callable[[Batch], dict[str, Tensor]]


def scorer(
    model: PreTrainedModel,
    *,
    temperature: float,
    reference: Callable[[], AbstractContextManager[PreTrainedModel]] | None = None,
    critic: Critic | None = None,
    top_p: float = 1.0,
) -> Score:
    """A function from a batch to ``logprobs``, ``ref_logprobs``, ``values``, ``cost_values`` and
    ``log_kept``, ``[N]`` each.

    Args:
        temperature: that of sampling; divides the logits of model and reference alike.
        reference: opens the model to compare with: ``lambda: adapters.reference(model)`` for an
            adapter, ``lambda: nullcontext(copy)`` for a frozen copy. None: no ``ref_logprobs``.
        critic: gives the values; a second output is that of the cost. None: no ``values``.
        top_p: that of sampling. Below 1 ``log_kept`` is the log of the probability it kept.
    """

    @torch.no_grad()
    def score(batch: Batch) -> dict[str, Tensor]:
        scores = token_logprobs(model, batch, temperature)
        found = {"logprobs": scores.logprobs}
        if critic is not None:
            values = critic(scores.hidden, batch)
            if values.dim() == 1:
                found["values"] = values
            else:
                found["values"], found["cost_values"] = values.unbind(1)
        if top_p < 1:
            rows = scores.hidden.index_select(0, batch.predictors())
            parts = in_pieces(
                lambda part: kept_mass(logits(model, part) / temperature, top_p), model, rows
            )
            found["log_kept"] = torch.cat(parts).log()
        if reference is not None:
            with reference() as other:
                found["ref_logprobs"] = token_logprobs(other, batch, temperature).logprobs
        return found

    return score
