"""Decoding with a draft model that goes ahead, against decoding without one.

    python -m benchmarks.speculative MODEL DRAFT --prompts 24 --ahead 1 2 4 8

All are measured in one process, in turns, by the CPU time of all threads: on a machine that others
use, only that compares. Greedy replies are compared token for token.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.selection import SHIPPED
from burnish.config import process
from burnish.models.load import Loaded, load_model
from burnish.records import Prompt
from burnish.sampling import Completion, Draft, Sampling, draft_of, generate
from burnish.sampling.past import Past
from burnish.sampling.reading import Reading
from burnish.sampling.usage import Usage, counted
from burnish.store import tables
from burnish.text.templates import encode_prompts

HEAD = """| temperature | rows | ahead | proposals kept | ms a token | ratio | the cost model |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""


def replied(
    loaded: Loaded, asked: Sequence[list[int]], sampling: Sampling, rows: int, draft: Draft | None
) -> tuple[list[Completion], float, Usage]:
    """Replies, the CPU milliseconds of each of their tokens, and what was proposed."""
    begun = time.process_time()
    with counted() as used:
        replies = generate(
            loaded.model, loaded.tokenizer, asked, sampling, seeds=range(len(asked)),
            batch_size=rows, draft=draft,
        )  # fmt: skip
    return replies, 1000 * (time.process_time() - begun) / used.sampled, used


@torch.inference_mode()
def pass_ms(model: Any, rows: int, tokens: int, repeats: int = 12) -> float:
    """CPU milliseconds of one pass over some tokens a row, behind 64 others: the median."""
    took = []
    past = Past(model)
    Reading(past, [(7,) * 64] * rows).go_on()
    for _ in range(repeats):
        ids, lengths = torch.full((rows, tokens), 7), torch.full((rows,), 64 + tokens)
        begun = time.process_time()
        past.feed(ids, lengths, tokens)
        took.append(1000 * (time.process_time() - begun))
        past.take_back(torch.full((rows,), tokens))
    return sorted(took)[repeats // 2]


def expected_ratio(stays: float, ahead: int, draft: float, check: float) -> float:
    """The model's passes saved, over what a round costs: ``(1 - a^(g+1)) / (1 - a) / (g c + v)``
    (Leviathan et al. 2023, arXiv 2211.17192, theorem 3.8, with a check that costs v, not 1)."""
    tokens = ahead + 1 if stays == 1 else (1 - stays ** (ahead + 1)) / (1 - stays)
    return tokens / (ahead * draft + check)


def chance_of(used: Usage, ahead: int) -> float:
    """The chance of one proposal, from the share of all that stayed: in a round of g of them
    ``a + a^2 + ... + a^g`` stay on average."""
    kept = ahead * used.accepted / max(used.proposed, 1)
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        over = sum(middle**place for place in range(1, ahead + 1)) > kept
        low, high = (low, middle) if over else (middle, high)
    return low


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("draft")
    parser.add_argument("--prompts", type=int, default=24)
    parser.add_argument("--tokens", type=int, default=32, help="tokens of the longest reply")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--ahead", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--temperature", type=float, nargs="+", default=[0.0, 1.0])
    options = parser.parse_args()
    process.tune()
    loaded, small = load_model(options.model), load_model(options.draft)
    prompts = tables.read(SHIPPED / "dev/atlas_explored.jsonl.gz", Prompt)[: options.prompts]
    asked = encode_prompts(loaded.tokenizer, [prompt.messages for prompt in prompts])
    print(HEAD)
    for temperature in options.temperature:
        sampling = Sampling(temperature=temperature, max_new_tokens=options.tokens)
        for rows in options.rows:
            plain, base, _ = replied(loaded, asked, sampling, rows, None)
            print(f"| {temperature:g} | {rows} | – | | {base:.2f} | 1.00 | |", flush=True)
            one = pass_ms(loaded.model, rows, 1)
            cheap = pass_ms(small.model, rows, 1) / one
            for ahead in options.ahead:
                draft = draft_of(loaded, small, ahead)
                found, took, used = replied(loaded, asked, sampling, rows, draft)
                if temperature == 0:
                    same = sum(a.tokens == b.tokens for a, b in zip(found, plain, strict=True))
                    assert same >= len(plain) - 1, "a near tie may flip once, not often"
                check = pass_ms(loaded.model, rows, ahead + 1) / one
                said = expected_ratio(chance_of(used, ahead), ahead, cheap, check)
                share = used.accepted / max(used.proposed, 1)
                print(f"| {temperature:g} | {rows} | {ahead} | {share:.0%} | {took:.2f} | "
                      f"{base / took:.2f} | {said:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
