"""Weights for replies that another distribution wrote, and what top_p keeps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from burnish.objectives import importance_weights
from burnish.sampling import Sampling
from burnish.sampling.draw import draw, kept_mass


def tensor(values: Any, grad: bool = False) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


TRAINER, SAMPLER = tensor([-2.0, -1.0, -0.5]), tensor([-1.0, -1.5, -0.5])
RATIOS = [math.exp(-1), math.exp(0.5), 1.0]  # .368, 1.649 and 1


@pytest.mark.parametrize(
    ("cap", "expected", "share"),
    [(None, RATIOS, None), (2.0, RATIOS, 0.0), (1.2, [math.exp(-1), 1.2, 1.0], 1.0)],
)
def test_weights_are_capped_and_the_raw_ratio_is_told(
    cap: float | None, expected: list[float], share: float | None
) -> None:
    # C-24
    weights, metrics = importance_weights(TRAINER, SAMPLER, cap)
    assert weights.tolist() == pytest.approx(expected, abs=1e-12)
    assert [part.item() for part in metrics["ratio"]] == pytest.approx([sum(RATIOS), 3])
    if share is None:
        assert "capped" not in metrics
    else:
        assert [part.item() for part in metrics["capped"]] == [share, 3]


def test_weights_carry_no_gradient_and_stay_finite() -> None:
    weights, _ = importance_weights(tensor([0.0, -1e4], grad=True), tensor([-1e4, 0.0]), None)
    assert not weights.requires_grad
    assert torch.isfinite(weights).all()
    with pytest.raises(ValueError, match=r"cap: 0\.0"):
        importance_weights(TRAINER, SAMPLER, 0.0)
    with pytest.raises(ValueError, match=r"sampler_logprobs: shape \[2\]"):
        importance_weights(TRAINER, SAMPLER[:2], None)


def test_weighted_tokens_have_the_trainers_expectation() -> None:
    # The exact expectation over three tokens: sum q (p / q) f = sum p f.
    p, q, f = tensor([0.5, 0.3, 0.2]), tensor([0.2, 0.5, 0.3]), tensor([1.0, -2.0, 5.0])
    weights, _ = importance_weights(p.log(), q.log(), None)
    assert (q * weights * f).sum().item() == pytest.approx((p * f).sum().item())


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(0.3, 0.4), (0.4, 0.4), (0.5, 0.9), (0.9, 0.9), (0.95, 1.0), (1.0, 1.0)],
)
def test_what_top_p_keeps(top_p: float, expected: float) -> None:
    # C-24: of .25 .4 .1 .25 the likeliest first; the two equal ones stay together.
    probabilities = tensor([[0.25, 0.4, 0.1, 0.25]])
    assert kept_mass(probabilities.log() + 3, top_p).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="top_p: 0"):
        kept_mass(probabilities, 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.5, 0.8, 0.99]))
def test_it_is_the_nucleus_that_sampling_draws_from(seed: int, top_p: float) -> None:
    # C-24: a fine sweep of the inverse distribution function meets every token of the nucleus.
    logits = torch.randn(12, generator=torch.Generator().manual_seed(seed))
    sweep = torch.linspace(0, 1, 2001, dtype=torch.float64)[:-1]
    tokens, _ = draw(logits.expand(2000, -1), sweep, Sampling(top_p=top_p))
    met = logits.softmax(0)[tokens.unique()].sum().item()
    assert kept_mass(logits[None], top_p).item() == pytest.approx(met, abs=1e-5)
