"""PPO, DAPO, GSPO and value losses, aggregation, and where the divergence term belongs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from burnish.objectives import (
    adaptive_kl,
    aggregate,
    clipped_policy,
    clipped_value,
    cross_entropy,
    group_advantages,
    k1,
    k2,
    k3,
    policy_metrics,
    preference,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())


def tensor(values: Any, grad: bool = False) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def clipped(dlogp: float, advantage: float, **settings: float) -> float:
    return clipped_policy(tensor([dlogp]), tensor([0.0]), tensor([advantage]), **settings).item()


@pytest.mark.parametrize(("case", "expected"), GOLDEN["ppo_clip_eps0.2"].items())
def test_ppo_clip(case: str, expected: float) -> None:  # C-15
    dlogp, advantage = (float(part.split("=")[1]) for part in case.split(","))
    assert clipped(dlogp, advantage) == pytest.approx(expected, abs=1e-12)


def test_dual_clip_and_asymmetric_clip() -> None:  # C-15, C-25
    assert clipped(3, -1, dual=3.0) == pytest.approx(3.0)
    assert clipped(3, -1) == pytest.approx(math.exp(3))
    assert clipped(1, -1, dual=3.0) == pytest.approx(math.e)
    assert clipped(3, 1, dual=3.0) == pytest.approx(-1.2)
    assert clipped(1, 1, low=0.2, high=0.28) == pytest.approx(-1.28)


def test_clipped_tokens_get_no_gradient() -> None:
    logprobs = tensor([1.0, 1.0, -1.0, -1.0, 0.1], grad=True)
    advantages = tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    clipped_policy(logprobs, tensor([0.0] * 5), advantages).sum().backward()
    assert logprobs.grad is not None
    expected = [0, math.e, -math.exp(-1), 0, -math.exp(0.1)]
    assert logprobs.grad.tolist() == pytest.approx(expected)
    metrics = policy_metrics(logprobs, tensor([0.0] * 5), advantages)
    assert metrics["clip_fraction"][0].item() == 2
    assert metrics["clip_fraction"][1].item() == 5


def test_approx_kl_is_that_of_the_sampling_policy() -> None:
    # Exact expectation over three arms sampled from old: KL(old | new).
    old, new = tensor([0.5, 0.3, 0.2]), tensor([0.2, 0.5, 0.3])
    expected = sum(
        o * policy_metrics(n.log()[None], o.log()[None], tensor([1.0]))["approx_kl"][0]
        for o, n in zip(old, new, strict=True)
    )
    assert expected.item() == pytest.approx(GOLDEN["kl"]["exact"])


def test_extreme_ratios_stay_finite() -> None:
    logprobs = tensor([0.0, 0.0, -1e4], grad=True)
    old = tensor([-1e4, -1e4, 0.0])
    loss = clipped_policy(logprobs, old, tensor([-1.0, 0.0, 1.0]))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert logprobs.grad is not None
    assert torch.isfinite(logprobs.grad).all()


def test_gspo() -> None:  # C-25
    gspo = GOLDEN["gspo"]
    logprobs, old = tensor(gspo["logp"], grad=True), tensor(gspo["old"])
    one = torch.zeros(3, dtype=torch.int64)
    for sign, name in ((1.0, "loss_A+1_eps(3e-4,4e-4)"), (-1.0, "loss_A-1")):
        advantages = torch.full((3,), sign, dtype=torch.float64)
        tokens = clipped_policy(logprobs, old, advantages, low=3e-4, high=4e-4, segment=one)
        total, count = aggregate(tokens, one, "seq_mean")
        assert (total / count).item() == pytest.approx(gspo[name], abs=1e-9)
    (grad,) = torch.autograd.grad(total, logprobs)
    assert grad.tolist() == pytest.approx([gspo["seq_ratio"] / 3] * 3)
    ratio, tokens_counted = policy_metrics(logprobs, old, advantages, segment=one)["ratio"]
    assert (ratio / tokens_counted).item() == pytest.approx(gspo["seq_ratio"])


def test_gspo_keeps_sequences_apart() -> None:
    logprobs, old = tensor([-1.0, -2.0, -5.0]), tensor([-1.2, -2.0, -4.0])
    loss = clipped_policy(
        logprobs, old, -torch.ones(3, dtype=torch.float64), segment=torch.tensor([1, 1, 4])
    )
    assert loss.tolist() == pytest.approx([math.exp(0.1), math.exp(0.1), 0.8])


def test_value_clip() -> None:  # C-15
    case = GOLDEN["value_clip"]
    v, old, target = (tensor([case[name]]) for name in ("v", "old", "ret"))
    assert clipped_value(v, old, target, 0.2).item() == pytest.approx(case["half_max"])
    assert clipped_value(v, old, target, None).item() == pytest.approx(case["half_unclipped"])


@pytest.mark.parametrize(
    ("kind", "length", "golden"),
    [
        ("seq_mean", None, "seq_mean(grpo)"),
        ("token_mean", None, "token_mean(dapo)"),
        ("constant_length", 4, "dr_grpo_Lmax4"),
        ("constant_length", 8, "dr_grpo_Lmax8"),
    ],
)
def test_aggregation(kind: Any, length: int | None, golden: str) -> None:  # C-23
    # Sequences 3 and 7: their names and the gaps between them do not matter.
    per_token, segment = tensor([1, 1, 1, 1, 2, 2]), torch.tensor([3, 3, 3, 3, 7, 7])
    total, count = aggregate(per_token, segment, kind, length=length)
    assert (total / count).item() == pytest.approx(GOLDEN["aggregation"][golden])
    halves = [
        aggregate(per_token[part], segment[part], kind, length=length)
        for part in (slice(0, 4), slice(4, 6))
    ]
    assert sum(t.item() for t, _ in halves) == pytest.approx(total.item())
    assert sum(c.item() for _, c in halves) == count.item()


def test_aggregation_of_nothing_is_0_and_wrong_settings_are_refused() -> None:
    empty, none = torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    for kind, length in (("seq_mean", None), ("token_mean", None), ("constant_length", 4)):
        total, count = aggregate(empty, none, kind, length=length)
        assert (total.item(), count.item()) == (0, 0)
    with pytest.raises(ValueError, match="length: None with constant_length"):
        aggregate(empty, none, "constant_length")
    with pytest.raises(ValueError, match="length: 4 with seq_mean"):
        aggregate(empty, none, "seq_mean", length=4)
    with pytest.raises(ValueError, match=r"segment: shape \[1\]"):
        aggregate(empty, torch.zeros(1, dtype=torch.int64), "token_mean")


def test_grpo_loss_is_0_but_its_gradient_is_not_at_ratio_1() -> None:  # C-23
    advantages = group_advantages(tensor([1.0, 0.0]), torch.tensor([0, 0]), "grpo_unbiased")
    logprobs = tensor([-1.0, -1.0], grad=True)
    tokens = clipped_policy(logprobs, logprobs.detach(), advantages)
    total, _ = aggregate(tokens, torch.tensor([0, 1]), "seq_mean")
    total.backward()
    assert total.item() == pytest.approx(0, abs=1e-12)
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx((-advantages).tolist())
    assert logprobs.grad[0].item() < -0.5


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-20, 0), st.sampled_from([0.0, 0.5, 1.0])), max_size=6),
    st.floats(-1e3, 0),
)
def test_cross_entropy_ignores_tokens_of_weight_0(
    rows: list[tuple[float, float]], noise: float
) -> None:
    logprobs, weights = tensor([r[0] for r in rows]), tensor([r[1] for r in rows])
    expected = -sum(p * w for p, w in rows)
    for masked in (noise, -math.inf, math.nan):
        noisy = torch.where(weights == 0, tensor(masked), logprobs).requires_grad_()
        loss = cross_entropy(noisy, weights)
        assert loss.total.item() == pytest.approx(expected)
        assert loss.count.item() == weights.sum().item()
        loss.total.backward()
        assert noisy.grad is not None
        assert noisy.grad.tolist() == pytest.approx((-weights).tolist())
    assert loss.metrics["nll"][1].item() == int((weights > 0).sum())


def test_cross_entropy_defaults_to_weight_1() -> None:
    loss = cross_entropy(tensor([-1.0, -2.5]))
    assert (loss.total.item(), loss.count.item()) == (3.5, 2)
    with pytest.raises(ValueError, match=r"logprobs: dtype torch\.int64, expected float"):
        cross_entropy(torch.tensor([1, 2]))


def test_estimators_of_the_divergence() -> None:  # C-18
    p, q = tensor(GOLDEN["kl"]["policy"]), tensor(GOLDEN["kl"]["ref"])
    for name, estimator in (("E_k1", k1), ("E_k2", k2), ("E_k3", k3)):
        expectation = (p * estimator(p.log(), q.log())).sum().item()
        assert expectation == pytest.approx(GOLDEN["kl"][name], abs=1e-9)
    assert torch.isfinite(k3(tensor([-1e4]), tensor([0.0]))).all()


REF = tensor(GOLDEN["bandit_fixed_points_beta1"]["ref"])
REWARD = tensor(GOLDEN["bandit_fixed_points_beta1"]["reward"])
REVERSE = GOLDEN["bandit_fixed_points_beta1"]["reverse_kl (k1 in reward, k2 in loss, DPO)"]
FORWARD = GOLDEN["bandit_fixed_points_beta1"]["forward_kl (k3 in loss)"]


def bandit(placement: str, steps: int = 400) -> list[float]:
    """Gradient ascent on three arms with the exact expectation, at beta 1, from the reference."""
    logits = REF.log().requires_grad_()
    for _ in range(steps):
        logprobs = torch.log_softmax(logits, 0)
        share, old = logprobs.detach().exp(), logprobs.detach()
        reward = REWARD - k1(old, REF.log()) if placement == "k1 in reward" else REWARD
        loss = clipped_policy(logprobs, old, reward)
        estimators = {"k1 in loss": k1, "k2 in loss": k2, "k3 in loss": k3}
        if placement in estimators:
            loss = loss + estimators[placement](logprobs, REF.log())
        (gradient,) = torch.autograd.grad((share * loss).sum(), logits)
        logits = (logits - gradient).detach().requires_grad_()
    return torch.softmax(logits, 0).tolist()


def test_where_the_divergence_sits_decides_the_optimum() -> None:  # C-18
    assert bandit("k1 in reward") == pytest.approx(REVERSE, abs=1e-6)
    assert bandit("k2 in loss") == pytest.approx(REVERSE, abs=1e-6)
    assert bandit("k3 in loss") == pytest.approx(FORWARD, abs=1e-6)
    assert bandit("k1 in loss")[0] > 0.98


def test_dpo_population_optimum_is_the_reverse_one() -> None:  # C-20
    logits = REF.log().requires_grad_()
    first, second = torch.tensor([(i, j) for i in range(3) for j in range(3) if i != j]).T
    preferred = torch.sigmoid(REWARD[first] - REWARD[second])
    optimiser = torch.optim.LBFGS([logits], tolerance_grad=1e-12, tolerance_change=0.0)

    def closure() -> Tensor:
        optimiser.zero_grad()
        p, r = torch.log_softmax(logits, 0), REF.log()
        loss = preference(
            "dpo", p[first], p[second], r[first], r[second], beta=1.0, weights=preferred
        )
        loss.total.backward()
        return loss.total

    for _ in range(3):
        optimiser.step(closure)
    assert torch.softmax(logits, 0).tolist() == pytest.approx(REVERSE, abs=1e-6)


def test_adaptive_kl() -> None:  # C-19
    for case, expected in GOLDEN["adaptive_kl(target6,h1e4,n256,k0.2)"].items():
        kl = float(case.split("=")[1])
        found = adaptive_kl(0.2, kl, target=6, horizon=10_000, samples=256)
        assert found == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="target, horizon"):
        adaptive_kl(0.2, 1.0, target=0, horizon=1, samples=1)


def test_wrong_arguments_are_named() -> None:
    one, two = tensor([1.0]), tensor([1.0, 2.0])
    with pytest.raises(ValueError, match=r"advantages: shape \[2\], expected \[1\]"):
        clipped_policy(one, one, two)
    with pytest.raises(ValueError, match=r"segment: dtype torch\.float64, expected integer"):
        clipped_policy(one, one, one, segment=one)
    with pytest.raises(ValueError, match="low, high, dual"):
        clipped_policy(one, one, one, dual=0.5)
    with pytest.raises(ValueError, match="clip: -1"):
        clipped_value(one, one, one, -1)
