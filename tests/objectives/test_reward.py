"""The reward model's loss: closed form, invariances, and that it learns."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from burnish.objectives import bradley_terry, bradley_terry_heads

RM = json.loads((Path(__file__).parents[1] / "golden.json").read_text())["rm"]


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


CHOSEN, REJECTED, MARGIN = (tensor(RM[name]) for name in ("chosen", "rejected", "margin"))


def rows(margin: bool = False, centring: float = 0.0) -> list[float]:
    return [
        bradley_terry(
            CHOSEN[i : i + 1],
            REJECTED[i : i + 1],
            MARGIN[i : i + 1] if margin else None,
            centring=centring,
        ).total.item()
        for i in range(4)
    ]


def test_rows_equal_the_closed_form() -> None:  # C-12
    assert rows() == pytest.approx(RM["bt"], abs=1e-9)
    assert rows(margin=True) == pytest.approx(RM["bt_margin"], abs=1e-9)
    centre = [a - b for a, b in zip(rows(centring=0.01), rows(), strict=True)]
    assert centre == pytest.approx(RM["centre_0.01"], abs=1e-9)


def test_soft_labels_are_a_cross_entropy() -> None:  # C-29
    # s(1 - 0.2) with the margin: -log s(0.8) = 0.37110067, and 0.8 more for s(-0.8).
    pair = tensor([1.0]), tensor([0.0])
    found = bradley_terry(*pair, tensor([0.2]), probability=tensor([0.7])).total.item()
    assert found == pytest.approx(0.37110067 + 0.3 * 0.8, abs=1e-8)
    sure = bradley_terry(CHOSEN, REJECTED, MARGIN, probability=tensor([1.0] * 4)).total
    assert sure.item() == bradley_terry(CHOSEN, REJECTED, MARGIN).total.item()


def test_metrics() -> None:
    loss = bradley_terry(CHOSEN, REJECTED, weights=tensor([1, 1, 1, 0]))
    assert loss.count.item() == 3
    assert loss.metrics["accuracy"][0].item() == 1.5  # right, a tie, wrong
    assert loss.metrics["margin"][0].item() == -1
    assert loss.metrics["score"][0].item() == 0.5
    assert loss.total.item() == pytest.approx(sum(RM["bt"][:3]), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(-100, 100))
def test_shift_invariance_without_centring(shift: float) -> None:  # C-12
    here = bradley_terry(CHOSEN, REJECTED, MARGIN).total
    there = bradley_terry(CHOSEN + shift, REJECTED + shift, MARGIN).total
    assert there.item() == pytest.approx(here.item(), abs=1e-9)


def test_scores_are_recovered_and_centring_draws_their_mean_to_0() -> None:  # C-12
    truth = tensor([2.0, 1.0, 0.0, -1.0])
    first, second = torch.triu_indices(4, 4, offset=1)
    agree = torch.sigmoid(truth[first] - truth[second])
    gaps, means = [], []
    for centring in (0.0, 0.01):
        scores = tensor([5.0, 5.0, 5.0, 5.0]).requires_grad_()
        optimiser = torch.optim.LBFGS([scores], max_iter=200, line_search_fn="strong_wolfe")

        def closure(
            scores: Tensor = scores,
            optimiser: torch.optim.LBFGS = optimiser,
            centring: float = centring,
        ) -> Tensor:
            optimiser.zero_grad()
            a, b = scores[first], scores[second]
            right = bradley_terry(a, b, weights=agree, centring=centring).total
            total = right + bradley_terry(b, a, weights=1 - agree, centring=centring).total
            total.backward()
            return total

        optimiser.step(closure)
        gaps.append((scores - scores[0]).detach())
        means.append(scores.mean().item())
    assert torch.allclose(gaps[0], truth - truth[0], atol=1e-4)
    assert means[0] == pytest.approx(5.0, abs=1e-3)
    assert means[1] == pytest.approx(0.0, abs=1e-3)


def test_gradients_are_finite_and_sum_to_0() -> None:
    chosen = tensor([1e4, -1e4]).requires_grad_()
    rejected = tensor([-1e4, 1e4]).requires_grad_()
    bradley_terry(chosen, rejected).total.backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.tolist() == [0, -1]
    assert rejected.grad.tolist() == [0, 1]


def test_wrong_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"margin: shape \[2\], expected \[4\]"):
        bradley_terry(CHOSEN, REJECTED, tensor([1.0, 2.0]))


def test_each_head_learns_from_the_pairs_that_speak_of_it_and_from_their_side() -> None:
    # First head: chosen better by 2, then silent. Second: rejected better by 1, chosen by 3.
    chosen = tensor([[1.0, 1.0], [5.0, 2.0]]).requires_grad_()
    rejected = tensor([[0.0, 4.0], [7.0, 0.0]]).requires_grad_()
    better = tensor([[2.0, -1.0], [0.0, 3.0]])
    names = ["helpful", "harmless"]

    def row(gap: float) -> float:
        return math.log1p(math.exp(-gap))

    found = bradley_terry_heads(chosen, rejected, better, names)
    assert found.total.item() == pytest.approx(row(1 - 0) + row(4 - 1) + row(2 - 0), abs=1e-12)
    assert found.count.item() == 3
    assert [p.item() for p in found.metrics["accuracy"]] == [3, 3]
    assert [p.item() for p in found.metrics["accuracy.helpful"]] == [1, 1]
    assert [p.item() for p in found.metrics["accuracy.harmless"]] == [2, 2]
    (slope,) = torch.autograd.grad(found.total, chosen)
    silent = slope[1, 0].item()
    assert silent == 0
    assert (slope.sign() == tensor([[-1.0, 1.0], [0.0, -1.0]])).all()
    margin = bradley_terry_heads(chosen, rejected, better, names, use_margin=True)
    assert margin.total.item() == pytest.approx(row(1 - 2) + row(3 - 1) + row(2 - 3), abs=1e-12)
    centred = bradley_terry_heads(chosen, rejected, better, names, centring=0.1)
    assert (centred.total - found.total).item() == pytest.approx(0.1 * (1 + 25 + 4), abs=1e-12)


def test_one_head_with_a_preference_for_every_chosen_reply_is_bradley_terry() -> None:
    found = bradley_terry_heads(CHOSEN[:, None], REJECTED[:, None], MARGIN[:, None].abs(), ["x"])
    spoken = (MARGIN != 0).double()
    assert found.total.item() == bradley_terry(CHOSEN, REJECTED, weights=spoken).total.item()


def test_heads_and_names_must_agree() -> None:
    two = tensor([1.0, 2.0])[None]
    with pytest.raises(ValueError, match="names: 1, expected 2"):
        bradley_terry_heads(two, two, two, ["a"])
