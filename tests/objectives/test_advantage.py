"""GAE, whitening, group advantages and the overlong penalty."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from burnish.objectives import (
    GroupKind,
    explained_variance,
    gae,
    gae_packed,
    group_advantages,
    informative,
    overlong_penalty,
    whiten,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())
KINDS = get_args(GroupKind)


def tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


REWARDS, VALUES = tensor(GOLDEN["gae"]["rewards"]), tensor(GOLDEN["gae"]["values"])


@pytest.mark.parametrize("case", [name for name in GOLDEN["gae"] if name.startswith("gamma")])
def test_gae(case: str) -> None:  # C-14
    gamma, lam = (float(part.split("=")[1]) for part in case.split(","))
    mask = torch.ones(1, 4, dtype=torch.bool)
    advantages, returns = gae(REWARDS[None], VALUES[None], mask, gamma, lam)
    assert advantages[0].tolist() == pytest.approx(GOLDEN["gae"][case], abs=1e-9)
    assert returns[0].tolist() == pytest.approx((advantages[0] + VALUES).tolist())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=4), st.data())
def test_masked_places_do_not_matter(masks: list[list[bool]], data: st.DataObject) -> None:
    # C-14: padding on either side and tool tokens in between; packed equals unpacked.
    mask = torch.tensor(masks)
    torch.manual_seed(data.draw(st.integers(0, 100)))
    rewards, values = torch.rand(2, *mask.shape, dtype=torch.float64)
    noise = torch.where(torch.rand(mask.shape) < 0.5, 1e6, torch.nan).double()
    noisy_rewards, noisy_values = rewards.where(mask, noise), values.where(mask, noise)
    advantages, returns = gae(noisy_rewards, noisy_values, mask, 0.9, 0.8)
    assert (advantages[~mask] == 0).all()
    assert (returns[~mask] == 0).all()
    segment = mask.nonzero()[:, 0]
    packed, packed_returns = gae_packed(rewards[mask], values[mask], segment, 0.9, 0.8)
    assert packed.tolist() == pytest.approx(advantages[mask].tolist())
    assert packed_returns.tolist() == pytest.approx(returns[mask].tolist())
    for row, kept in enumerate(mask):
        if kept.any():
            all_true = torch.ones(1, int(kept.sum()), dtype=torch.bool)
            alone, _ = gae(rewards[row, kept][None], values[row, kept][None], all_true, 0.9, 0.8)
            assert alone[0].tolist() == pytest.approx(advantages[row, kept].tolist())


def test_gae_has_no_gradient_and_refuses_shuffled_segments() -> None:
    values = VALUES.clone().requires_grad_()
    advantages, returns = gae_packed(REWARDS, values, torch.tensor([0, 0, 2, 2]))
    assert not advantages.requires_grad
    assert not returns.requires_grad
    with pytest.raises(ValueError, match="segment: falls"):
        gae_packed(REWARDS, VALUES, torch.tensor([0, 1, 0, 1]))
    with pytest.raises(ValueError, match=r"mask: dtype torch\.float64, expected bool"):
        gae(REWARDS[None], VALUES[None], REWARDS[None])


def test_whitening() -> None:  # C-17
    values = tensor([1, 2, 3, 4])
    for kind, end in (("unbiased", 1.161895), ("biased", 1.341641)):
        white = whiten(values, kind)  # type: ignore[arg-type]
        assert white.tolist() == pytest.approx([-end, -end / 3, end / 3, end], abs=1e-6)
        kept = whiten(values, kind, shift=False)  # type: ignore[arg-type]
        assert kept.tolist() == pytest.approx((white + 2.5).tolist())


def test_whitening_is_masked_and_never_nan() -> None:  # C-17
    noisy = tensor([1, 1e9, 2, 3, torch.nan, 4])
    mask = torch.tensor([True, False, True, True, False, True])
    white = whiten(noisy, mask=mask)
    assert white[mask].tolist() == pytest.approx(whiten(tensor([1, 2, 3, 4])).tolist())
    assert white[~mask].tolist() == [0, 0]
    assert whiten(tensor([7.0])).tolist() == [0]
    assert whiten(tensor([7.0]), shift=False).tolist() == [7]
    assert whiten(tensor([5.0, 5.0, 5.0])).tolist() == [0, 0, 0]
    assert whiten(tensor([])).tolist() == []
    with pytest.raises(ValueError, match="kind: 'other'"):
        whiten(noisy, "other")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "golden"),
    [
        ("grpo_unbiased", "grpo_unbiased_std_eps1e-4"),
        ("grpo_biased", "grpo_biased_std_eps1e-6"),
        ("dr_grpo", "dr_grpo"),
        ("rloo", "rloo"),
    ],
)
def test_group_advantages(kind: Any, golden: str) -> None:  # C-23, C-26
    rewards = tensor(GOLDEN["group_adv"]["rewards"])
    expected = GOLDEN["group_adv"][golden]
    one = torch.zeros(8, dtype=torch.int64)
    assert group_advantages(rewards, one, kind).tolist() == pytest.approx(expected, abs=1e-9)
    # Two groups interleaved are each scored alone; a shift of one's rewards changes nothing.
    both = torch.stack([rewards, rewards + 5], dim=1).flatten()
    groups = torch.tensor([9, 4]).repeat(8)
    found = group_advantages(both, groups, kind)
    assert found[0::2].tolist() == pytest.approx(expected, abs=1e-9)
    assert found[1::2].tolist() == pytest.approx(expected, abs=1e-9)


def test_rloo_is_the_reward_minus_the_mean_of_the_others() -> None:  # C-26
    rewards = tensor([1.0, 2.0, 6.0])
    found = group_advantages(rewards, torch.tensor([0, 0, 0]), "rloo")
    assert found.tolist() == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rewards_give_exactly_0(kind: Any, dtype: torch.dtype) -> None:  # C-23
    # 0.1 has no exact form, so a mean of copies may differ from it in the last digit.
    rewards = torch.tensor([0.1] * 7 + [0.1, 0.3], dtype=dtype)
    groups = torch.tensor([0] * 7 + [1] * 2)
    found = group_advantages(rewards, groups, kind)
    assert (found[:7] == 0).all()
    assert (found[7:] != 0).all()
    assert informative(rewards, groups).tolist() == [False] * 7 + [True] * 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_group_of_one_and_bad_rewards_are_refused(kind: Any) -> None:  # C-23
    with pytest.raises(ValueError, match="group of one"):
        group_advantages(tensor([1, 0, 1]), torch.tensor([0, 0, 1]), kind)
    with pytest.raises(ValueError, match="rewards: not finite"):
        group_advantages(tensor([1, torch.nan]), torch.tensor([0, 0]), kind)


def test_overlong_penalty() -> None:  # C-25
    lengths = torch.tensor([1, 16384, 18432, 20480, 20481, 99999])
    assert overlong_penalty(lengths, 20480, 4096).tolist() == [0, 0, -0.5, -1, -1, -1]
    with pytest.raises(ValueError, match="buffer: 0"):
        overlong_penalty(lengths, 20480, 0)


def test_explained_variance() -> None:
    returns = torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert explained_variance(returns, returns) == 1.0
    # A constant offset is no error of this measure; a constant explains nothing.
    assert explained_variance(returns - 5, returns) == pytest.approx(1.0)
    assert explained_variance(torch.zeros(4), returns) == 0.0
    # Residuals -1, -1, 1, 1 have variance 1, returns 1.25.
    assert explained_variance(torch.tensor([2.0, 3.0, 2.0, 3.0]), returns) == pytest.approx(0.2)
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(torch.zeros(4), torch.ones(4)) == 0.0
