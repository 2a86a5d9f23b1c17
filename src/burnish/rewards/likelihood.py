"""Log-probabilities of replies under a reference model, packed and batched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from burnish.models.forward import segment_counts, segment_sums, token_logprobs
from burnish.records import Message
from burnish.sampling.cache import context_length
from burnish.text.batches import Segment, Unit, batches, together
from burnish.text.templates import encode_many, end_tokens

Pair = tuple[Sequence[Message], str]
"""The messages of a prompt and a reply to them."""

NO_PROMPT: tuple[Message, ...] = ({"role": "user", "content": ""},)


def reply_segments(tokenizer: Any, pairs: Sequence[Pair], end: bool = True) -> list[Segment]:
    """Prompt and reply as one segment each; the reply's tokens and end token are targets, or with
    ``end=False`` only the reply's own."""
    conversations = [
        [*messages, Message(role="assistant", content=reply)] for messages, reply in pairs
    ]
    encoded = encode_many(tokenizer, conversations, [len(messages) for messages, _ in pairs])
    segments = [Segment(row.tokens, row.mask, str(index)) for index, row in enumerate(encoded)]
    if end:
        return segments
    ends = end_tokens(tokenizer)
    return [
        replace(one, mask=[*one.mask[:-1], False]) if one.tokens[-1] in ends else one
        for one in segments
    ]


def reply_units(tokenizer: Any, pairs: Sequence[Pair]) -> list[Unit]:
    """The segments of ``reply_segments``; replies to one prompt that stand together are a unit."""
    return together(reply_segments(tokenizer, pairs), (messages for messages, _ in pairs))


def reply_logprobs(
    model: Any, tokenizer: Any, pairs: Sequence[Pair], tokens_per_batch: int = 4096
) -> list[tuple[float, int]]:
    """For each reply the sum of its tokens' log-probabilities (nats) and their number."""
    return segment_logprobs(model, reply_units(tokenizer, pairs), tokens_per_batch)


@torch.no_grad()
def segment_logprobs(
    model: Any, units: Sequence[Unit], tokens_per_batch: int = 4096
) -> list[tuple[float, int]]:
    """For each segment, in order, the sum of its targets' log-probabilities (nats) and their
    number."""
    device = next(model.parameters()).device
    count = sum(1 if isinstance(unit, Segment) else len(unit) for unit in units)
    found: list[tuple[float, int]] = [(0.0, 0)] * count
    for chosen, batch in batches(units, tokens_per_batch, device):
        sums = segment_sums(token_logprobs(model, batch).logprobs, batch).tolist()
        counts = segment_counts(batch).tolist()
        for index, total, targets in zip(chosen, sums, counts, strict=True):
            found[index] = (float(total), int(targets))
    return found


@dataclass(frozen=True)
class Surprise:
    """Log-probabilities (nats) of a reply's ``tokens``: ``given`` its prompt, and ``alone``."""

    given: float
    alone: float
    tokens: int

    @property
    def npmi(self) -> float:
        """Normalised pointwise mutual information of reply and prompt, at most 1."""
        return (self.given - self.alone) / max(-self.alone, 1e-6)

    @property
    def fluency(self) -> float:
        """Mean log-probability of a token without the prompt."""
        return self.alone / max(1, self.tokens)

    @property
    def perplexity(self) -> float:
        """``exp`` of the mean loss of a token given the prompt."""
        return _exp(-self.given / max(1, self.tokens))

    def ifd(self, variant: Literal["loss_ratio", "perplexity_ratio"]) -> float:
        """Instruction-following difficulty (Li et al., arXiv 2308.12032, equation 5).

        ``loss_ratio`` divides the mean losses L(reply | prompt) / L(reply), as the equation is
        written; ``perplexity_ratio`` their exponentials, as the authors' program does. Near 1 or
        above, the prompt did not help. Mean losses of 0.6 and 1.2 are 0.5 and exp(-0.6) = 0.5488.
        """
        count = max(1, self.tokens)
        if variant == "loss_ratio":
            return self.given / min(self.alone, -1e-6)
        return _exp((self.alone - self.given) / count)


def _exp(value: float) -> float:
    """``exp`` that stays finite."""
    return math.exp(min(value, 700.0))


def surprises(
    model: Any, tokenizer: Any, pairs: Sequence[Pair], tokens_per_batch: int = 4096
) -> list[Surprise | None]:
    """Two passes over each (prompt, reply) pair; None where it is longer than the model attends."""
    most = context_length(model)
    fits = [len(row.tokens) <= most for row in reply_segments(tokenizer, pairs)]
    kept = [pair for pair, fit in zip(pairs, fits, strict=True) if fit]
    given = reply_logprobs(model, tokenizer, kept, tokens_per_batch)
    # One by one: all have the same prompt, so that as units they would be a single batch.
    unprompted = reply_segments(tokenizer, [(NO_PROMPT, reply) for _, reply in kept])
    alone = segment_logprobs(model, unprompted, tokens_per_batch)
    found = iter([Surprise(a, b, n) for (a, n), (b, _) in zip(given, alone, strict=True)])
    return [next(found) if fit else None for fit in fits]
