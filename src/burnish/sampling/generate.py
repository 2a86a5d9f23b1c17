"""Prompts to completions: a batched decode loop over a model's own key-value cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from burnish.config import InputError
from burnish.sampling.decoding import Rows
from burnish.sampling.settings import Sampling
from burnish.text.templates import end_tokens

BATCH_ROWS = 128


@dataclass(frozen=True)
class Completion:
    """One reply. ``tokens [L]`` with the end token where ``finish`` is ``"stop"``.

    ``logprobs [L]``: see ``draw.draw``. ``text`` is without control tokens.
    """

    tokens: list[int]
    logprobs: list[float]
    text: str
    finish: Literal["stop", "length"]


@dataclass(frozen=True)
class Request:
    """One completion to make: its place in the answer, its prompt's tokens and its seed."""

    index: int
    prompt: tuple[int, ...]
    seed: int


def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    batch_size: int = BATCH_ROWS,
    progress: Callable[[int], object] | None = None,
) -> list[Completion]:
    """Complete each prompt once.

    A prompt that occurs several times is computed once and its cache shared out. Requests are
    batched by length, and leave the batch when they end. A request's result depends on its
    prompt and seed, not on the others (up to the rounding of matrix products of another shape).

    Args:
        model: a causal language model of transformers, or one wrapped by peft. Runs in eval mode.
        tokenizer: gives the end tokens and turns ids into text.
        prompts: token ids.
        seeds: one for each prompt, not negative.
        batch_size: completions decoded at the same time.
        progress: called with the number of completions that ended, as they end.

    Returns:
        Completions in the order of the prompts.

    Raises:
        InputError: a prompt is empty or fills the model's context.
        ValueError: another number of seeds than of prompts.
    """
    if len(seeds) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need as many seeds, found {len(seeds)}")
    _check_lengths(model, prompts)
    requests = [
        Request(index, tuple(prompt), seed)
        for index, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True))
    ]
    ends = frozenset(end_tokens(tokenizer))
    found: dict[int, tuple[list[int], list[float]]] = {}
    was_training = model.training
    model.eval()
    try:
        for batch in _batches(requests, batch_size):
            found |= _complete(model, batch, sampling, ends, progress)
    finally:
        model.train(was_training)
    results = [found[index] for index in range(len(prompts))]
    return [
        Completion(
            tokens,
            logprobs,
            tokenizer.decode(tokens, skip_special_tokens=True),
            "stop" if tokens[-1] in ends else "length",
        )
        for tokens, logprobs in results
    ]


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


def context_length(model: Any) -> int:
    """The number of tokens the model can attend to; very large where its config names none."""
    config = model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 2**31)


def _batches(requests: Sequence[Request], size: int) -> Iterator[list[Request]]:
    """Requests of equal prompts together, long prompts first, in batches of ``size``."""
    order = sorted(requests, key=lambda r: (-len(r.prompt), r.prompt, r.index))
    for begin in range(0, len(order), size):
        yield order[begin : begin + size]


@torch.inference_mode()
def _complete(
    model: Any,
    batch: Sequence[Request],
    sampling: Sampling,
    ends: frozenset[int],
    progress: Callable[[int], object] | None,
) -> dict[int, tuple[list[int], list[float]]]:
    """Tokens and log-probabilities of each request of one batch, by request index."""
    context = context_length(model)
    prompts = [request.prompt for request in batch]
    limits = [min(sampling.max_new_tokens, context - len(prompt)) for prompt in prompts]
    rows = Rows(model, prompts, [request.seed for request in batch], limits, sampling, ends)
    while rows.alive:
        ended = rows.step()
        if progress is not None and ended:
            progress(ended)
    results = rows.results()
    return {request.index: result for request, result in zip(batch, results, strict=True)}
