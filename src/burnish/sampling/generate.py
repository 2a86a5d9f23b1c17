"""Prompts to completions: a batched decode loop over a model's own key-value cache."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Literal

import numpy as np
import torch

from burnish.config import InputError
from burnish.sampling import usage
from burnish.sampling.cache import context_length
from burnish.sampling.decoding import JOIN_EVERY, Row, Rows
from burnish.sampling.past import Past
from burnish.sampling.prefixes import BLOCK, Prefixes
from burnish.sampling.reading import Reading
from burnish.sampling.settings import Sampling
from burnish.sampling.speculative import Draft, begin
from burnish.sampling.stopping import Endings, find_stop
from burnish.sampling.threads import few_threads
from burnish.text.templates import end_tokens

BATCH_ROWS = 128
WORTH = 512
"""Cells of a common beginning that are not computed again: so many pay for a pass of its own."""

Finish = Literal["stop", "length"]


@dataclass(frozen=True)
class Completion:
    """One reply.

    ``tokens [L]`` are all that were sampled. Where ``finish`` is ``"stop"`` the last is an end
    token, or the one that completed a stop string. ``logprobs [L]``: see ``draw.draw``. ``text``
    is without control tokens, and up to the stop string. A served model's reply
    has neither tokens nor log-probabilities.
    """

    tokens: list[int]
    logprobs: list[float]
    text: str
    finish: Finish


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    batch_size: int = BATCH_ROWS,
    progress: Callable[[int], object] | None = None,
    draft: Draft | None = None,
) -> list[Completion]:
    """Complete each prompt once.

    A prompt that occurs several times is computed once and its cache shared out, and so is what all
    prompts begin with, where that saves something. Requests leave the batch when they end, and
    others take their places. A request's result depends on its prompt and seed, not on the others
    (up to the rounding of matrix products of another shape).

    Args:
        model: a causal language model of transformers, or one wrapped by peft. Runs in eval mode.
        tokenizer: gives the end tokens and turns ids into text.
        prompts: token ids.
        seeds: one for each prompt, not negative.
        batch_size: completions decoded at the same time.
        progress: called with the number of completions that ended, as they end.
        draft: a smaller model that goes ahead; see ``speculative``. Replies are those of ``model``
            all the same: greedy ones token for token, others in distribution.

    Returns:
        Completions in the order of the prompts.

    Raises:
        InputError: a prompt is empty or fills the model's context.
        ValueError: another number of seeds than of prompts.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need as many seeds, found {len(seeds)}")
    _check_lengths(model, prompts)
    context = context_length(model)
    endings = Endings(tokenizer, frozenset(end_tokens(tokenizer)), sampling.stop)
    requests = [
        Row(
            tuple(prompt),
            np.random.default_rng(seed),
            min(sampling.max_new_tokens, context - len(prompt)),
            sampling,
            endings,
        )
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    was_training = model.training
    model.eval()
    try:
        _decode(model, requests, batch_size, progress, draft)
    finally:
        model.train(was_training)
        used = usage.current()
        used.sampled += sum(len(row.tokens) for row in requests)
        used.proposed += sum(row.proposed for row in requests)
        used.accepted += sum(row.accepted for row in requests)
    return [completion(row) for row in requests]


def completion(row: Row) -> Completion:
    """What a row that ended has become."""
    text = row.endings.text(row.tokens)
    stop = find_stop(text, row.endings.stop)
    finish: Finish = "stop" if stop is not None or row.tokens[-1] in row.endings.ends else "length"
    return Completion(row.tokens, row.logprobs, text[:stop], finish)


def _check_lengths(model: Any, prompts: Sequence[Sequence[int]]) -> None:
    limit = context_length(model)
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise InputError(f"prompt {index} has no tokens")
        if len(prompt) >= limit:
            raise InputError(
                f"prompt {index} has {len(prompt)} tokens, which leaves no room for a reply in the "
                f"model's context of {limit}"
            )


@torch.inference_mode()
def _decode(
    model: Any,
    requests: Sequence[Row],
    size: int,
    progress: Callable[[int], object] | None,
    draft: Draft | None,
) -> None:
    """Decode every request to its end, ``size`` at a time.

    Equal prompts come together, long ones first, so that those that join fit into the cells that
    are there.
    """
    waiting = deque(sorted(requests, key=lambda row: (-len(row.prompt), row.prompt)))
    with few_threads(model, 1):
        prefixes = _beginning(model, {row.prompt for row in requests})
    rows: Rows | None = None
    steps = 0
    while rows is not None or waiting:
        with few_threads(model, min(size, len(requests))):
            if rows is None:
                rows = begin(model, _next(waiting, size), draft, prefixes)
            elif waiting and rows.joinable and steps % JOIN_EVERY == 0 and rows.alive < size:
                rows.join(begin(model, _next(waiting, size - rows.alive), draft, prefixes))
            ended = sum(not row.going for row in rows.step())
        steps += 1
        if not rows.alive:
            rows = None
        if progress is not None and ended:
            progress(ended)


def _beginning(model: Any, prompts: Collection[tuple[int, ...]]) -> Prefixes | None:
    """What the model computes of the tokens that all prompts begin with, where they are many."""
    first, last = min(prompts, default=()), max(prompts, default=())
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    count = sum(1 for _ in same) // BLOCK * BLOCK
    if count * (len(prompts) - 1) < WORTH:
        return None
    prefixes = Prefixes(model, count)
    if prefixes.most:
        reading = Reading(Past(model), [first[:count]])
        reading.go_on()
        prefixes.store(reading.past, 0, first[:count])
    return prefixes


def _next(waiting: deque[Row], count: int) -> list[Row]:
    return [waiting.popleft() for _ in range(min(count, len(waiting)))]
