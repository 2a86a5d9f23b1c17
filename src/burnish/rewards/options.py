"""How likely a model finds each of a few answers to one question: what soft labels are made of.

A model in this process is asked for the log-probabilities of the answers themselves, a served one
for those of the tokens that its reply is likeliest to begin with; where a server gives none,
several drawn replies are counted as votes.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from burnish.records import Message
from burnish.rewards.likelihood import Pair, reply_segments, segment_logprobs
from burnish.sampling import EndpointError, Request, Sampler, Sampling, ServedSampler
from burnish.sampling.served import REFUSES_FIELD, TopTokens
from burnish.text.batches import together

log = logging.getLogger(__name__)

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


def by_top_tokens(sampler: ServedSampler, otherwise: Weigh | None = None) -> Weigh:
    """What a server says of the likeliest tokens at the first place where one is an answer.

    An answer that is not among them counts with the probability of the last one that is, since it
    has no more: a share is never surer than what is known. Shares are not known where no answer is
    among them.

    Args:
        otherwise: weighs instead where the server gives no log-probabilities; without it that is an
            EndpointError.
    """

    def weigh(conversations: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[Shares]:
        requests = [
            Request(list(turns), 0, f"question {at + 1}") for at, turns in enumerate(conversations)
        ]
        try:
            sampler.top_tokens(requests[:1])  # one is enough to see whether there are any
        except EndpointError as error:
            if otherwise is None or error.status not in REFUSES_FIELD | {200}:
                raise
            log.warning("%s gives no log-probabilities; votes are drawn", sampler.address.url)
            return otherwise(conversations, answers)
        return [_shares(places, answers) for places in sampler.top_tokens(requests)]

    return weigh


def _shares(places: TopTokens, answers: Sequence[str]) -> Shares:
    for place in places:
        found = dict.fromkeys(map(_named, answers), 0.0)
        for token, logprob in place.items():
            if _named(token) in found:
                found[_named(token)] += math.exp(logprob)
        if any(found.values()):
            least = math.exp(min(place.values()))
            weights = [found[_named(answer)] or least for answer in answers]
            return [weight / sum(weights) for weight in weights]
    return None


def _named(text: str) -> str:
    """An answer without what may stand around it."""
    return text.strip().strip("().").upper()


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
        said = [_named(reply.text) for reply in replies]
        names = {_named(answer): at for at, answer in enumerate(answers)}
        found: list[Shares] = []
        for at in range(0, len(said), votes):
            counts = Counter(names[text] for text in said[at : at + votes] if text in names)
            total = counts.total()
            found.append([counts[n] / total for n in range(len(answers))] if total else None)
        return found

    return weigh
