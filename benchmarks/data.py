"""Rows of shipped text, made alike on both sides: same words, same tokenizer, same seed."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

from benchmarks.workloads import MAX_LENGTH, Span, Workload

STEPS_OF_ROWS = 32
"""So many steps pass before the rows come round again."""
SEED = 0


@dataclass(frozen=True)
class Row:
    """A prompt and its replies, each with the space before it and an end token after it."""

    prompt: str
    replies: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """What a Llama-like model costs: parameters in its layers' matrices, and its sizes.

    ``sides``: rows and columns of these matrices together, which is what one rank of LoRA has.
    """

    body: int
    sides: int
    layers: int
    attention: int
    hidden: int
    vocabulary: int


def rows(workload: Workload, tokenizer: Any, corpus: Path) -> list[Row]:
    """The rows of a workload: ``STEPS_OF_ROWS`` steps of them, one step's for GRPO's update."""
    draw = random.Random(SEED)
    words = _Words(tokenizer, corpus)
    steps = 1 if workload.kind in ("grpo", "ppo") else STEPS_OF_ROWS
    count = (workload.prompts or workload.batch) * steps
    return [_row(workload, draw, words, tokenizer.eos_token) for _ in range(count)]


def _row(workload: Workload, draw: random.Random, words: _Words, end: str) -> Row:
    prompt = words.take(_length(draw, workload.prompt))
    replies = [
        " " + words.take(_length(draw, workload.reply)) + end for _ in range(workload.replies)
    ]
    return Row(prompt, tuple(replies))


def _length(draw: random.Random, span: Span) -> int:
    """Squaring makes short lengths common: a batch of eight is then about half padding."""
    low, high = span
    return low + round((high - low) * draw.random() ** 2)


class _Words:
    """English words of the corpus in order, over and over, with the tokens of each."""

    def __init__(self, tokenizer: Any, corpus: Path) -> None:
        with gzip.open(corpus, "rt", encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        words = [word for r in records if r["lang"] == "en" for word in r["text"].split()]
        distinct = sorted(set(words))
        encoded = tokenizer([" " + word for word in distinct], add_special_tokens=False)
        self._sizes = dict(zip(distinct, map(len, encoded["input_ids"]), strict=True))
        self._words: Iterator[str] = cycle(words)

    def take(self, tokens: int) -> str:
        """The next words, of about so many tokens and at least one word."""
        taken = [next(self._words)]
        filled = self._sizes[taken[0]]
        while filled < tokens:
            taken.append(next(self._words))
            filled += self._sizes[taken[-1]]
        return " ".join(taken)


def encode(tokenizer: Any, prompt: str, reply: str) -> tuple[list[int], int]:
    """Ids of prompt and reply together, and how many of them are the prompt's.

    Tokenised as TRL does it for plain text: the reply begins where the ids of the prompt alone
    and of both together part.

    Raises:
        ValueError: the row is longer than ``MAX_LENGTH``, so that TRL would cut it.
    """
    alone, both = tokenizer(prompt)["input_ids"], tokenizer(prompt + reply)["input_ids"]
    if len(both) > MAX_LENGTH:
        raise ValueError(f"a row has {len(both)} tokens, more than {MAX_LENGTH}")
    same = 0
    while same < min(len(alone), len(both)) and alone[same] == both[same]:
        same += 1
    return both, same


def reply_ids(tokenizer: Any, reply: str) -> list[int]:
    """Ids of a reply alone, as a sampler would have given them."""
    ids: list[int] = tokenizer(reply, add_special_tokens=False)["input_ids"]
    return ids


def reward(tokens: Sequence[int]) -> float:
    """A reward that both sides can compute and that differs between replies."""
    return float(sum(tokens) % 7)


def shape(config: Any) -> Shape:
    """Sizes from a transformers config of the Llama family."""
    width, head = config.hidden_size, config.head_dim
    queries, keys = config.num_attention_heads * head, config.num_key_value_heads * head
    layer = width * (2 * queries + 2 * keys) + 3 * width * config.intermediate_size
    sides = 2 * (width + queries) + 2 * (width + keys) + 3 * (width + config.intermediate_size)
    return Shape(
        body=layer * config.num_hidden_layers,
        sides=sides * config.num_hidden_layers,
        layers=config.num_hidden_layers,
        attention=queries,
        hidden=width,
        vocabulary=config.vocab_size,
    )


def forward_flops(size: Shape, sequences: Sequence[tuple[int, int]]) -> float:
    """Floating-point operations that a forward pass needs, however it is computed.

    ``sequences``: tokens and scored positions of each. Two operations a parameter and token, the
    head at scored positions only, causal attention at half of ``L^2``, no padding, nothing twice.
    """
    total = 0.0
    for length, targets in sequences:
        total += 2.0 * size.body * length + 2.0 * size.hidden * size.vocabulary * targets
    return total + attention_flops(size, sequences)


def sampling_flops(
    size: Shape, replies: Sequence[tuple[int, int]], prompts: Sequence[int]
) -> float:
    """Operations that sampling needs: each distinct prompt once, then one token after the other.

    ``replies``: tokens of the prompt and of the reply itself, for each; ``prompts``: tokens of the
    distinct prompts.
    """
    total = forward_flops(size, [(length, 0) for length in prompts])
    for before, length in replies:
        total += forward_flops(size, [(before + length, length)])
        total -= forward_flops(size, [(before, 0)])
    return total


def attention_flops(size: Shape, sequences: Sequence[tuple[int, int]]) -> float:
    """What causal attention has of them: its products of queries, keys and values."""
    return sum(2.0 * size.layers * size.attention * length**2 for length, _ in sequences)
