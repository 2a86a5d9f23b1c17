"""The forward pass over a packed batch, and log-probabilities of its targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from burnish.models.attention import packs
from burnish.models.divided import compute
from burnish.models.packing import Packing
from burnish.objectives import coarse, distribution_divergence
from burnish.text.batches import Batch

R = TypeVar("R")

LOGITS_AT_ONCE = 2**25
"""Logits (rows x vocabulary) held at one time; 128 MiB in float32."""
CACHED_LOGITS = 2**21
SMALLEST_CHUNK = 256


@dataclass(frozen=True)
class TokenScores:
    """What the model says of the targets, in the order of ``batch.targets.nonzero()``.

    ``logprobs [N]`` float32; ``entropy [N]`` in nats, None unless asked for; ``hidden [T, D]``
    the last hidden states, for a value head that shares the trunk; ``mean [N]`` the mean over the
    vocabulary of the log-probabilities there, None unless asked for.
    """

    logprobs: Tensor
    entropy: Tensor | None
    hidden: Tensor
    mean: Tensor | None = None


def hidden(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Last hidden states ``[T, D]`` of the packed tokens, without the language-model head.

    Every segment is computed as if it stood alone. Gradients flow unless switched off outside.
    """
    backbone = model.base_model
    if not packs(model):
        return _hidden_padded(backbone, batch)
    # A 4-D mask is passed through untouched by transformers, so that no [T, T] mask is built.
    unused = torch.empty(1, 1, 1, 1, dtype=torch.bool, device=batch.device)
    output = backbone(
        input_ids=batch.tokens[None],
        position_ids=batch.positions[None],
        attention_mask=unused,
        use_cache=False,
        packing=Packing(batch),
    )
    states: Tensor = output.last_hidden_state[0]
    return states


def _hidden_padded(backbone: nn.Module, batch: Batch) -> Tensor:
    """One row a segment, padded on the right, with mask and explicit positions."""
    places = batch.whole_index()
    rows = pad_sequence(list(batch.tokens[places].split(batch.lengths)), batch_first=True)
    positions = pad_sequence(list(batch.positions[places].split(batch.lengths)), batch_first=True)
    lengths = torch.tensor(batch.lengths, device=batch.device)
    real = torch.arange(rows.shape[1], device=batch.device)[None] < lengths[:, None]
    output = backbone(
        input_ids=rows, attention_mask=real.long(), position_ids=positions, use_cache=False
    )
    states: Tensor = output.last_hidden_state[real]
    if not batch.shared:
        return states
    # A shared token was computed in each row; one of them will do.
    _, first = np.unique(places.cpu().numpy(), return_index=True)
    return states[torch.from_numpy(first).to(batch.device)]


def logits(model: PreTrainedModel, states: Tensor) -> Tensor:
    """Float32 logits ``[n, V]`` of hidden states ``[n, D]``, with the model's own scalings.

    ``load.load_model`` checks that this equals ``model(...).logits``.
    """
    scores: Tensor = model.get_output_embeddings()(states).float()
    config = model.config.get_text_config()
    if config.model_type == "cohere":
        scores = scores * config.logit_scale
    divisor = getattr(config, "logits_scaling", None)
    if divisor is not None:
        scores = scores / divisor
    cap = getattr(config, "final_logit_softcapping", None)
    if cap is not None:
        scores = torch.tanh(scores / cap) * cap
    return scores


def token_logprobs(
    model: PreTrainedModel,
    batch: Batch,
    temperature: float = 1.0,
    entropy: bool = False,
    mean: bool = False,
    states: Tensor | None = None,
) -> TokenScores:
    """Log-probabilities of the targets: ``log_softmax(logits / temperature)`` at the token.

    The head is computed only at positions that predict a target, at once where its logits are
    few: every further piece would write a gradient of the head's whole weight, and add it up.
    ``states``: what ``hidden`` gives of the batch, where it has been computed already.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, found {temperature}")
    states = hidden(model, batch) if states is None else states
    index = batch.target_index()
    rows, labels = states.index_select(0, batch.predictors()), batch.tokens[index]

    def score(part: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores: tuple[Tensor, Tensor, Tensor] = _Gather.apply(  # type: ignore[no-untyped-call]
            logits(model, part), label, temperature, entropy, mean
        )
        return scores

    parts = in_pieces(score, model, rows, labels, logits_each=LOGITS_AT_ONCE)
    logprobs, entropies, means = (torch.cat(column) for column in zip(*parts, strict=True))
    return TokenScores(logprobs, entropies if entropy else None, states, means if mean else None)


Divergence = Callable[[Tensor, Tensor], Tensor]
"""``[N]`` of two models' logits ``[N, V]``, the trained one's first."""


def token_divergences(
    model: PreTrainedModel,
    anchor: PreTrainedModel,
    batch: Batch,
    states: Tensor | None = None,
    divergence: Divergence = distribution_divergence,
) -> Tensor:
    """``divergence`` of the next-token distributions at each target, ``[N]`` in nats; by default
    ``KL(anchor | model)``.

    No gradient flows into ``anchor``, a model of the same tokens (its head may be padded to
    another size). ``states``: the model's, as in ``token_logprobs``.
    """
    before = batch.predictors()
    with torch.no_grad():
        given = compute(anchor, hidden, batch).index_select(0, before)
    states = hidden(model, batch) if states is None else states
    rows = states.index_select(0, before)
    width = common_width(model, anchor)

    def score(part: Tensor, reference: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = logits(anchor, reference)[:, :width]
        return divergence(logits(model, part)[:, :width], wanted)

    return torch.cat(in_pieces(score, model, rows, given))


def common_width(*models: PreTrainedModel) -> int:
    """Logits that all models have: of one vocabulary, heads may be padded to different sizes."""
    return min(int(model.config.get_text_config().vocab_size) for model in models)


@torch.no_grad()
def likeliest_tokens(
    model: PreTrainedModel, batch: Batch, count: int, temperature: float, width: int
) -> tuple[Tensor, Tensor]:
    """What the model thinks likeliest at each target: ids ``[N, count]``, and the log-probabilities
    of these and of all others together ``[N, count + 1]``, at the temperature.

    ``width``: how many tokens of the vocabulary are looked at.
    """

    def score(part: Tensor) -> tuple[Tensor, Tensor]:
        scaled = logits(model, part)[:, :width] / temperature
        ids = scaled.topk(count, dim=1).indices
        return ids, coarse(scaled, ids).log_softmax(1)

    rows = hidden(model, batch).index_select(0, batch.predictors())
    ids, known = zip(*in_pieces(score, model, rows), strict=True)
    return torch.cat(ids), torch.cat(known)


def coarse_divergences(
    model: PreTrainedModel,
    batch: Batch,
    states: Tensor,
    found: tuple[Tensor, Tensor],
    divergence: Divergence,
    temperature: float,
    width: int,
) -> Tensor:
    """``token_divergences`` from what ``likeliest_tokens`` found with another model, ``[N]``.

    ``divergence`` is given logits divided by the temperature.
    """
    rows = states.index_select(0, batch.predictors())

    def score(part: Tensor, kept: Tensor, wanted: Tensor) -> Tensor:
        return divergence(coarse(logits(model, part)[:, :width] / temperature, kept), wanted)

    return torch.cat(in_pieces(score, model, rows, *found))


def in_pieces(
    score: Callable[..., R],
    model: PreTrainedModel,
    *columns: Tensor,
    logits_each: int | None = None,
) -> list[R]:
    """``score`` of slices of the columns, each ``[N, ...]``, for what computes logits of a slice.

    A slice has about ``logits_each`` logits, by default a few megabytes that pass through the
    cache. Where all of them are more than may be held at one time, a slice's are computed again
    in backward.
    """
    vocabulary = model.config.get_text_config().vocab_size
    size = max(SMALLEST_CHUNK, (logits_each or CACHED_LOGITS) // vocabulary)
    kept = len(columns[0]) * vocabulary <= LOGITS_AT_ONCE
    return [
        score(*parts)
        if kept
        else checkpoint(score, *parts, use_reentrant=False, preserve_rng_state=False)
        for parts in zip(*(column.split(size) for column in columns), strict=True)
    ]


class _Gather(torch.autograd.Function):
    """Log-probability of one label a row, the row's entropy, and its mean log-probability over
    the vocabulary, from logits ``[n, V]``; what is not asked for comes out empty.

    The logits are overwritten: by the log-probabilities of all tokens, and those in backward by
    the gradient. What makes logits (a product, a scaling) never looks at its result again. Rows
    are worked through a few at a time, which stay in the cache. With ``p = softmax(z / t)``:
    d logp_y / d z_j = (1[j=y] - p_j) / t, d H / d z_j = -p_j (log p_j + H) / t and
    d mean_v(log p_v) / d z_j = (1/V - p_j) / t.
    """

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, labels: Tensor, temperature: float, entropy: bool, mean: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = scores.shape[0]
        entropies, means = scores.new_empty(rows * entropy), scores.new_empty(rows * mean)
        for part in _cached(scores):
            scaled = scores[part] if temperature == 1.0 else scores[part] / temperature
            log_p = scores[part] = scaled.log_softmax(1)
            if entropy:
                entropies[part] = -(log_p.exp() * log_p).sum(1)
            if mean:
                means[part] = log_p.mean(1)
        unused = [found for found, asked in ((entropies, entropy), (means, mean)) if not asked]
        ctx.mark_non_differentiable(*unused)
        ctx.save_for_backward(scores, labels, entropies)
        ctx.temperature, ctx.entropy, ctx.mean = temperature, entropy, mean
        return scores.gather(1, labels[:, None]).squeeze(1), entropies, means

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        scores, labels, entropies = ctx.saved_tensors
        # Divided here, where there is one number a row.
        gathered, spread, even = (grad[:, None] / ctx.temperature for grad in grads)
        # Every probability is pushed down by what pulls the label, or all labels alike, up.
        pulled = gathered + even if ctx.mean else gathered
        for part in _cached(scores):
            slope = scores[part]
            if ctx.entropy:
                factor = (slope + entropies[part, None]).mul_(-spread[part]).sub_(pulled[part])
                slope.exp_().mul_(factor)
            else:
                slope.exp_().mul_(-pulled[part])
            if ctx.mean:
                slope.add_(even[part] / scores.shape[1])
        return scores.scatter_add_(1, labels[:, None], gathered), None, None, None, None


def _cached(scores: Tensor) -> Iterator[slice]:
    """Slices of rows of ``scores [n, V]`` that pass through the cache with what is made of them."""
    size = max(1, CACHED_LOGITS // 4 // scores.shape[1])
    return (slice(start, start + size) for start in range(0, len(scores), size))


def segment_sums(values: Tensor, batch: Batch) -> Tensor:
    """``[S]``: the sum over each segment's targets of ``values [N]``; 0 where it has none."""
    sums = values.new_zeros(len(batch.lengths))
    return sums.index_add(0, batch.target_segments(), values)


def segment_counts(batch: Batch) -> Tensor:
    """``[S]`` float32: how many targets each segment has."""
    return torch.bincount(batch.target_segments(), minlength=len(batch.lengths)).float()
