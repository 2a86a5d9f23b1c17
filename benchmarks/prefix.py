"""What a prefix cache and prompts read by parts save, and what they cost where nothing repeats.

    python -m benchmarks.prefix burnish-tiny smollm2

Each line is one way against another in one process, in turns, by the CPU time of all threads: on a
machine that others use, only that compares. Written to RESULTS-prefix.md, with its notes left as
they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from unittest.mock import patch

import numpy as np

from benchmarks.batching import Prompts, drawn_prompts
from burnish.config import process
from burnish.models.load import Loaded, load_model
from burnish.sampling import Batcher, BatchLimits, Sampling, generate
from burnish.sampling.batcher import Drawn
from burnish.sampling.cache import context_length
from burnish.sampling.generate import WORTH
from burnish.store import atomic

PAGE = Path(__file__).with_name("RESULTS-prefix.md")
NOTES = "## Notes\n"
WHOLE = 2**20
"""Tokens of a chunk that every prompt fits into."""
ROWS = 8
TOP = """# Prefixes and prompts read by parts

Written by `{command}`;
only the notes at the end are written by hand. CPU milliseconds, medians of {rounds} rounds in turn,
and of their ratios: above 1 is better with what the line names, at its default.

| model | what | without | with | ratio |
| --- | --- | ---: | ---: | ---: |
"""


@dataclass
class Asked:
    """A batcher that notes what it draws."""

    loaded: Loaded
    limits: BatchLimits
    drawn: list[Drawn] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the batcher."""
        model, tokenizer = self.loaded.model, self.loaded.tokenizer
        self.batcher = Batcher(model, tokenizer, self.limits, self.drawn.extend)

    def reply(self, prompt: list[int], tokens: int) -> list[int]:
        """The tokens of a greedy reply."""
        sampling = Sampling(temperature=0, max_new_tokens=tokens)
        (row,) = self.batcher.submit(prompt, sampling, [0])
        while self.batcher.step():
            pass
        return row.tokens


def first_token(loaded: Loaded, limits: BatchLimits, tokens: int) -> float:
    """CPU milliseconds to the first token of the next turn of a conversation of so many tokens."""
    asked = Asked(loaded, limits)
    text = drawn(loaded, tokens - 20)
    text += [*asked.reply(text, 20), *drawn(loaded, 24, seed=1)]
    began = time.process_time()
    asked.reply(text, 1)
    return 1000 * (time.process_time() - began)


def longest_pause(loaded: Loaded, limits: BatchLimits, tokens: int) -> float:
    """CPU milliseconds of the longest step of four replies while such a prompt comes."""
    asked = Asked(loaded, limits)
    for seed in range(4):
        asked.batcher.submit(drawn(loaded, 16, seed), Sampling(max_new_tokens=64), [seed])
    asked.batcher.step()
    (long,) = asked.batcher.submit(drawn(loaded, tokens), Sampling(max_new_tokens=1), [0])
    pauses = []
    while not long.tokens:
        began = time.process_time()
        asked.batcher.step()
        pauses.append(time.process_time() - began)
    asked.batcher.close(now=True)
    return 1000 * max(pauses)


def queued(loaded: Loaded, limits: BatchLimits, prompts: Prompts, tokens: int) -> float:
    """CPU milliseconds a token of replies to prompts that all wait at first."""
    asked = Asked(loaded, limits)
    for seed, prompt in enumerate(prompts):
        asked.batcher.submit(prompt, Sampling(max_new_tokens=tokens), [seed])
    began = time.process_time()
    asked.batcher.close()
    asked.batcher.run()
    return 1000 * (time.process_time() - began) / len(asked.drawn)


def together(loaded: Loaded, prompts: Prompts, worth: int) -> float:
    """CPU milliseconds a reply of one ``generate``, where a common beginning of ``worth`` cells
    is computed once."""
    began = time.process_time()
    with patch.object(sys.modules[generate.__module__], "WORTH", worth):
        generate(
            loaded.model, loaded.tokenizer, prompts, Sampling(max_new_tokens=16),
            seeds=range(len(prompts)), batch_size=32,
        )  # fmt: skip
    return 1000 * (time.process_time() - began) / len(prompts)


def drawn(loaded: Loaded, tokens: int, seed: int = 0) -> list[int]:
    """Random tokens."""
    size = len(loaded.tokenizer)
    return np.random.default_rng(seed).integers(size // 8, size, tokens).tolist()


def lines_of(name: str, rounds: int, count: int) -> Iterator[str]:
    """The lines of a model."""
    loaded = load_model(name)
    context = context_length(loaded.model)
    turn, long = min(500, context - 64), min(1000, context - 8)
    none = {"prefix_mib": 0, "chunk_tokens": WHOLE, "rows": ROWS}
    plain, cached = BatchLimits(**none), BatchLimits(chunk_tokens=WHOLE)
    usual, parts = BatchLimits(rows=ROWS), BatchLimits(prefix_mib=0)
    small = BatchLimits(prefix_mib=0, chunk_tokens=256)
    fresh = drawn_prompts(loaded, count, 256, seed=0)
    judged = [drawn(loaded, 256) + prompt for prompt in drawn_prompts(loaded, 16, 64, seed=1)]
    ways: dict[str, tuple[Callable[[], float], Callable[[], float]]] = {
        f"ms to the first token of the next turn, {turn} tokens before: cache": (
            lambda: first_token(loaded, plain, turn), lambda: first_token(loaded, cached, turn),
        ),
        f"ms of the longest pause of 4 replies when a prompt of {long} comes: chunks": (
            lambda: longest_pause(loaded, plain, long), lambda: longest_pause(loaded, parts, long),
        ),
        "the same in chunks of 256": (
            lambda: longest_pause(loaded, plain, long), lambda: longest_pause(loaded, small, long),
        ),
        f"ms a token, {count} prompts of 8 to 256 that share nothing, {ROWS} rows: both": (
            lambda: queued(loaded, plain, fresh, 32), lambda: queued(loaded, usual, fresh, 32),
        ),
        "ms a reply of `generate`, 16 prompts that begin with the same 256 tokens: read once": (
            lambda: together(loaded, judged, 2**62), lambda: together(loaded, judged, WORTH),
        ),
    }  # fmt: skip
    for what, (without, with_it) in ways.items():
        pairs = [(without(), with_it()) for _ in range(rounds)]
        before, after = (median(side) for side in zip(*pairs, strict=True))
        ratio = median(one / other for one, other in pairs)
        yield f"| {name} | {what} | {before:.2f} | {after:.2f} | {ratio:.2f} |\n"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=32)
    options = parser.parse_args()
    process.tune()
    found = ""
    for name in options.models:
        for line in lines_of(name, options.rounds, options.prompts):
            print(line, end="", flush=True)
            found += line
    command = " ".join(["python -m benchmarks.prefix", *sys.argv[1:]])
    notes = PAGE.read_text().partition(NOTES)[2] if PAGE.exists() else ""
    top = TOP.format(command=command, rounds=options.rounds)
    atomic.write_text(PAGE, f"{top}{found}\n{NOTES}{notes}")


if __name__ == "__main__":
    main()
