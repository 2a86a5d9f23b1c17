"""How likely a model finds each of a few answers to one question: what soft labels are made of.

A model in this process is asked for the log-probabilities of the answers themselves; of one that
only replies, several drawn replies are counted as votes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from burnish.records import Message
from burnish.rewards.likelihood import Pair, reply_segments, segment_logprobs
from burnish.sampling import Request, Sampler, Sampling
from burnish.text.batches import together

Shares = list[float] | None
"""The probability of each answer, in sum 1; None where it is not known."""
Weigh = Callable[[Sequence[Sequence[Message]], Sequence[str]], list[Shares]]
"""The shares of the same few answers after each of several conversations."""


def softmax(logprobs: Sequence[float]) -> list[float]:
    """``exp`` of each number over the sum of them all."""
    highest = max(logprobs)
    weights = [math.exp(value - highest) for value in logprobs]
    return [weight / sum(weights) for weight in weights]


def by_likelihood(model: Any, tokenizer: Any, tokens_per_batch: int = 4096) -> Weigh:
    """Softmax over the answers' summed log-probabilities, without the mark that ends a reply."""

    def weigh(conversations: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[Shares]:
        pairs: list[Pair] = [(turns, answer) for turns in conversations for answer in answers]
        owners = [at for at in range(len(conversations)) for _ in answers]
        units = together(reply_segments(tokenizer, pairs, end=False), owners)
        sums = [total for total, _ in segment_logprobs(model, units, tokens_per_batch)]
        size = len(answers)
        return [softmax(sums[at : at + size]) for at in range(0, len(sums), size)]

    return weigh


def by_votes(sampler: Sampler, votes: int, sampling: Sampling, seed: int) -> Weigh:
    """The share of ``votes`` drawn replies that are each answer and nothing else.

    Other replies do not count; where all are others, the shares are not known.
    """

    def weigh(conversations: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[Shares]:
        requests = [
            Request(list(turns), seed + vote, f"question {at + 1}, vote {vote + 1}")
            for at, turns in enumerate(conversations)
            for vote in range(votes)
        ]
        replies = sampler.complete(requests, sampling)
        said = [reply.text.strip().strip("().").upper() for reply in replies]
        names = {answer.upper(): at for at, answer in enumerate(answers)}
        found: list[Shares] = []
        for at in range(0, len(said), votes):
            counts = Counter(names[text] for text in said[at : at + votes] if text in names)
            total = counts.total()
            found.append([counts[n] / total for n in range(len(answers))] if total else None)
        return found

    return weigh
