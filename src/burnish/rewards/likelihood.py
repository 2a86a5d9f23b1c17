"""Log-probabilities of replies under a reference model, packed and batched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from burnish.models.forward import segment_counts, segment_sums, token_logprobs
from burnish.records import Message
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
