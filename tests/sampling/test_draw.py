from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from burnish.sampling.draw import draw
from burnish.sampling.settings import Sampling

LOGITS = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()


def at(uniform: list[float], logits: torch.Tensor = LOGITS, **changes: float) -> list[int]:
    settings = Sampling(**changes)
    rows = logits.expand(len(uniform), -1)
    return draw(rows, torch.tensor(uniform, dtype=torch.float64), settings)[0].tolist()


def test_inverse_of_the_cumulative_distribution() -> None:
    # Edges of [0.1, 0.2, 0.3, 0.4]: 0.1, 0.3, 0.6.
    assert at([0.0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 1 - 1e-16]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_tokens_of_probability_zero_are_never_drawn() -> None:
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 0.0, -math.inf])
    assert at([0.0, 0.49, 0.51, 1 - 1e-16], logits) == [1, 1, 3, 3]


def test_top_p_keeps_the_smallest_likely_set() -> None:
    # 0.4 + 0.3 reaches 0.7; 0.71 needs the 0.2 too. The kept ones are stretched over [0, 1).
    assert at([0.0, 0.42, 0.43, 0.99], top_p=0.699) == [2, 2, 3, 3]
    assert at([0.0, 0.21, 0.23, 0.99], top_p=0.71) == [1, 1, 2, 3]
    assert at([0.0, 0.99], top_p=0.01) == [3, 3]


def test_top_p_looks_beyond_the_likeliest() -> None:
    flat = torch.zeros(1000)
    uniform = torch.linspace(0, 0.999, 50, dtype=torch.float64)
    tokens, _ = draw(flat.expand(50, -1), uniform, Sampling(top_p=0.9))
    assert tokens.max().item() > 900


def test_logprobs_at_temperature_are_of_the_whole_vocabulary() -> None:
    # Temperature 2: weights are square roots of 0.1 ... 0.4.
    roots = [math.sqrt(p) for p in (0.1, 0.2, 0.3, 0.4)]
    uniform = torch.tensor([0.999], dtype=torch.float64)
    for top_p in (1.0, 0.5):
        token, logprob = draw(LOGITS[None], uniform, Sampling(temperature=2, top_p=top_p))
        assert token.item() == 3
        assert logprob.item() == pytest.approx(math.log(roots[3] / sum(roots)), abs=1e-6)


def test_greedy_logprob_is_at_temperature_one() -> None:
    token, logprob = draw(LOGITS[None], torch.zeros(1).double(), Sampling(temperature=0))
    assert (token.item(), logprob.item()) == (3, pytest.approx(math.log(0.4), abs=1e-6))


def test_frequencies() -> None:
    uniform = torch.from_numpy(np.random.default_rng(0).random(20_000))
    tokens, _ = draw(LOGITS.expand(20_000, -1), uniform, Sampling())
    shares = torch.bincount(tokens, minlength=4) / 20_000
    assert shares.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.015)
