"""Multiple choice by likelihood: which option a model finds likeliest as its reply.

A score of an option is made of the log-probabilities (nats) of its tokens after the question:

=================  =====================================  ==================
option score       the sum of them                        in lm-eval
=================  =====================================  ==================
``sum``            as it is: short options are favoured   ``acc``
``per_token``      divided by the option's tokens
``per_character``  divided by its characters              ``acc_norm``
``per_byte``       divided by its bytes in UTF-8          ``acc_bytes``
``unconditional``  less that after an empty question      ``acc_mutual_info``
=================  =====================================  ==================

The highest score is the model's choice, the first of equal ones (lm-evaluation-harness,
``ConfigurableTask.process_results``). Questions and options are encoded as in training, by the
chat template; the mark that ends a reply is no part of an option.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from typing_extensions import TypedDict

from burnish.config import InputError, Problem
from burnish.records import Prompt
from burnish.rewards.likelihood import NO_PROMPT, Pair, reply_segments, segment_logprobs
from burnish.sampling.cache import context_length
from burnish.text.batches import Segment, Unit, together

OptionScore = Literal["sum", "per_token", "per_character", "per_byte", "unconditional"]
OPTION_SCORES: tuple[OptionScore, ...] = (
    "sum", "per_token", "per_character", "per_byte", "unconditional"
)  # fmt: skip


Sums = Callable[[Sequence[Unit]], list[tuple[float, int]]]
"""For each segment, in order, the sum of its targets' log-probabilities (nats) and their number."""


class Option(TypedDict):
    """What a model says of one option: the sum of its tokens' log-probabilities after the question
    and after an empty one (``alone``), in nats, and how many ``tokens`` it has."""

    logprob: float
    alone: float
    tokens: int


def is_choice(spec: Mapping[str, Any] | None) -> bool:
    """Whether a ``verify`` specification is one of options."""
    return spec is not None and spec.get("kind") == "choice"


def measure(
    model: Any, tokenizer: Any, items: Sequence[Prompt], tokens_per_batch: int = 4096
) -> list[list[Option]]:
    """Each item's options under a model; a question is computed once for all its options.

    Raises:
        InputError: as ``weighed``.
    """

    def sums(units: Sequence[Unit]) -> list[tuple[float, int]]:
        return segment_logprobs(model, units, tokens_per_batch)

    return weighed(tokenizer, items, context_length(model), sums)


def weighed(
    tokenizer: Any, items: Sequence[Prompt], context: int, sums: Sums
) -> list[list[Option]]:
    """Each item's options by whatever tells the log-probabilities of given tokens.

    Args:
        items: with a ``verify`` of kind ``choice``.
        context: tokens that question and option may take together.

    Raises:
        InputError: a question with an option is longer than the model's context.
    """
    pairs: list[Pair] = []
    owners: list[str] = []
    for item in items:
        for text in _texts(item):
            pairs.append((item.messages, text))
            owners.append(item.id)
    segments = reply_segments(tokenizer, pairs, end=False)
    _check_room(segments, owners, context)
    given = sums(together(segments, owners))
    texts = list(dict.fromkeys(text for _, text in pairs))
    bare = reply_segments(tokenizer, [(NO_PROMPT, text) for text in texts], end=False)
    alone = dict(zip(texts, sums(bare), strict=True))
    options = iter(
        Option(logprob=total, alone=alone[text][0], tokens=count)
        for (_, text), (total, count) in zip(pairs, given, strict=True)
    )
    return [[next(options) for _ in _texts(item)] for item in items]


def scores(texts: Sequence[str], options: Sequence[Option], kind: OptionScore) -> list[float]:
    """The score of each option; ``texts`` are theirs. See the table above."""
    divided: dict[str, Sequence[float]] = {
        "sum": [1] * len(texts),
        "per_token": [one["tokens"] for one in options],
        "per_character": [len(text) for text in texts],
        "per_byte": [len(text.encode()) for text in texts],
    }
    if kind == "unconditional":
        return [one["logprob"] - one["alone"] for one in options]
    return [one["logprob"] / by for one, by in zip(options, divided[kind], strict=True)]


def chosen(texts: Sequence[str], options: Sequence[Option], kind: OptionScore) -> int:
    """The place of the option with the highest score, the first of equal ones."""
    found = scores(texts, options, kind)
    return found.index(max(found))


def _texts(item: Prompt) -> list[str]:
    texts: list[str] = (item.verify or {})["choices"]
    return texts


def _check_room(segments: Sequence[Segment], owners: Sequence[str], limit: int) -> None:
    problems = {
        owner: Problem("", None, owner, f"{len(segment.tokens)} tokens", f"at most {limit}")
        for segment, owner in zip(segments, owners, strict=True)
        if len(segment.tokens) > limit
    }
    if problems:
        raise InputError(list(problems.values()))
