"""Replies to many prompts, in batches that run to their end and in one that others join.

    python -m benchmarks.batching burnish-tiny --prompts 256 --longest 64

Both are measured in one process, in turns, by the CPU time of all threads: on a machine that
others use, only that compares.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from burnish.config import process
from burnish.models.load import load_model
from burnish.sampling import Sampling, generate
from burnish.sampling.batcher import Batcher, BatchLimits, Drawn

Prompts = list[list[int]]


def drawn_prompts(loaded: Any, count: int, longest: int, seed: int) -> Prompts:
    """Prompts of 8 to ``longest`` random tokens: how they end, the model decides by itself."""
    random = np.random.default_rng(seed)
    size = len(loaded.tokenizer)
    return [
        random.integers(size // 8, size, random.integers(8, longest + 1)).tolist()
        for _ in range(count)
    ]


def to_the_end(loaded: Any, prompts: Prompts, sampling: Sampling, rows: int) -> int:
    """Tokens drawn by one ``generate`` a batch: nobody joins."""
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    count = 0
    for begin in range(0, len(order), rows):
        batch = order[begin : begin + rows]
        count += at_once(loaded, [prompts[index] for index in batch], sampling, rows, batch)
    return count


def at_once(
    loaded: Any, prompts: Prompts, sampling: Sampling, rows: int, seeds: Sequence[int]
) -> int:
    """Tokens drawn by one ``generate`` for all."""
    model, tokenizer = loaded.model, loaded.tokenizer
    done = generate(model, tokenizer, prompts, sampling, seeds=seeds, batch_size=rows)
    return sum(len(reply.tokens) for reply in done)


def queued(loaded: Any, prompts: Prompts, sampling: Sampling, rows: int) -> int:
    """Tokens drawn by a ``Batcher`` with all requests in its queue, in the order they came."""
    count = 0

    def tell(drawn: list[Drawn]) -> None:
        nonlocal count
        count += len(drawn)

    limits = BatchLimits(rows=rows, waiting=len(prompts))
    batcher = Batcher(loaded.model, loaded.tokenizer, limits, tell)
    for seed, prompt in enumerate(prompts):
        batcher.submit(prompt, sampling, [seed])
    batcher.close()
    batcher.run()
    return count


def main() -> None:
    """Measure and print tokens a CPU-second, the best of some rounds each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--longest", type=int, default=64, help="tokens of the longest prompt")
    parser.add_argument("--tokens", type=int, default=96, help="tokens of the longest reply")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    process.tune()
    loaded = load_model(options.model)
    prompts = drawn_prompts(loaded, options.prompts, options.longest, seed=0)
    # An end is as likely at any token: stop strings that a share of all tokens holds.
    sampling = Sampling(max_new_tokens=options.tokens, stop=["q", "k"])
    asked = (loaded, prompts, sampling, options.rows)
    ways: dict[str, Callable[[], int]] = {
        "batches to their end": lambda: to_the_end(*asked),
        "generate": lambda: at_once(*asked, range(len(prompts))),
        "queue of a server": lambda: queued(*asked),
    }
    best = dict.fromkeys(ways, 0.0)
    for _ in range(options.rounds):
        for name, way in ways.items():
            began = time.process_time()
            tokens = way()
            rate = tokens / (time.process_time() - began)
            best[name] = max(best[name], rate)
    for name, rate in best.items():
        print(
            f"{name:22} {rate:8.0f} tokens a CPU-second  {rate / best['batches to their end']:.2f}x"
        )


if __name__ == "__main__":
    main()
