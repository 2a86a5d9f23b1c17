"""Divergences of a student from its teacher: by hand, by torch's own formulas, and TRL's."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import kl_div

from burnish.objectives import coarse, distilled, distribution_divergence

KINDS = ("forward", "reverse", "jensen_shannon")
TEACHER = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
STUDENT = torch.tensor([[0.25, 0.75], [0.25, 0.75]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75) = 0.5 ln(4 / 3)
        ("forward", 0.5 * math.log(4 / 3)),
        # 0.25 ln(0.25 / 0.5) + 0.75 ln(0.75 / 0.5) = 0.75 ln 3 - ln 2
        ("reverse", 0.75 * math.log(3) - math.log(2)),
        # m = (0.3, 0.7) at beta 0.2: 0.2 KL(p | m) + 0.8 KL(q | m)
        (
            "jensen_shannon",
            0.2 * (0.5 * math.log(0.5 / 0.3) + 0.5 * math.log(0.5 / 0.7))
            + 0.8 * (0.25 * math.log(0.25 / 0.3) + 0.75 * math.log(0.75 / 0.7)),
        ),
    ],
)
def test_by_hand(kind: Any, expected: float) -> None:
    """Whatever is added to all logits; equal distributions give 0."""
    found = distribution_divergence(STUDENT.log() + 3.0, TEACHER.log() - 1.0, kind, beta=0.2)
    wanted = torch.tensor([expected, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)


def plain(logits: Tensor, ref: Tensor, kind: str, t: float, beta: float) -> Tensor:
    """The same by torch's kl_div, as TRL's GKD computes it (there without t^2)."""
    log_q, log_p = (logits / t).log_softmax(1), (ref / t).log_softmax(1)
    if kind == "jensen_shannon":
        middle = torch.stack([log_p + math.log(beta), log_q + math.log(1 - beta)]).logsumexp(0)
        parts = [kl_div(middle, x, reduction="none", log_target=True) for x in (log_p, log_q)]
        found = beta * parts[0] + (1 - beta) * parts[1]
    elif kind == "forward":
        found = kl_div(log_q, log_p, reduction="none", log_target=True)
    else:
        found = kl_div(log_p, log_q, reduction="none", log_target=True)
    return found.sum(1) * t**2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("t", "beta"), [(1.0, 0.5), (2.5, 0.1), (0.7, 0.9)])
def test_value_and_gradient_are_those_of_the_plain_formula(
    kind: Any, t: float, beta: float
) -> None:
    draw = torch.Generator().manual_seed(0)
    logits, ref = 2 * torch.randn(2, 5, 7, dtype=torch.float64, generator=draw)
    logits.requires_grad_(True)
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    found = distribution_divergence(logits, ref, kind, temperature=t, beta=beta)
    expected = plain(logits, ref, kind, t, beta)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    slopes = [torch.autograd.grad((x * weights).sum(), logits)[0] for x in (found, expected)]
    torch.testing.assert_close(*slopes, atol=1e-12, rtol=1e-10)
    assert torch.autograd.gradcheck(
        lambda x: distribution_divergence(x, ref, kind, temperature=t, beta=beta), (logits,)
    )


def test_the_gradient_of_the_forward_divergence_is_q_minus_p() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, ref = torch.randn(2, 5, 7, dtype=torch.float64, generator=draw)
    logits.requires_grad_(True)
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    (distribution_divergence(logits, ref) * weights).sum().backward()
    assert logits.grad is not None
    slope = weights[:, None] * (logits.detach().softmax(1) - ref.softmax(1))
    torch.testing.assert_close(logits.grad, slope, atol=1e-12, rtol=0)


def test_the_mixture_tends_to_either_side() -> None:
    """Agarwal et al. 2024, section 2: divided by beta, or by 1 - beta."""
    draw = torch.Generator().manual_seed(1)
    logits, ref = torch.randn(2, 4, 9, dtype=torch.float64, generator=draw)
    for beta, share, kind in ((1e-5, 1e-5, "forward"), (1 - 1e-5, 1e-5, "reverse")):
        mixed = distribution_divergence(logits, ref, "jensen_shannon", beta=beta) / share
        limit = distribution_divergence(logits, ref, kind)  # type: ignore[arg-type]
        torch.testing.assert_close(mixed, limit, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_keep_their_size_at_a_high_temperature(kind: Any) -> None:
    """Hinton et al. 2015, section 2: t^2 makes up for the 1 / t^2 of the gradients, so that they
    tend to (z - v) / V of centred logits (for a mixture times beta (1 - beta))."""
    draw = torch.Generator().manual_seed(2)
    logits, ref = torch.randn(2, 3, 6, dtype=torch.float64, generator=draw)
    logits.requires_grad_(True)
    found = distribution_divergence(logits, ref, kind, temperature=1e4)
    (slope,) = torch.autograd.grad(found.sum(), logits)
    gap = logits.detach() - ref
    limit = (gap - gap.mean(1, keepdim=True)) / 6
    if kind == "jensen_shannon":
        limit = limit * 0.25
    torch.testing.assert_close(slope, limit, atol=1e-4, rtol=1e-3)


def test_nothing_flows_into_the_teacher_and_shapes_are_checked() -> None:
    ref = torch.zeros(2, 3, requires_grad=True)
    distribution_divergence(torch.ones(2, 3, requires_grad=True), ref).sum().backward()
    assert ref.grad is None
    with pytest.raises(ValueError, match="ref_logits"):
        distribution_divergence(torch.zeros(2, 3), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="temperature: 0"):
        distribution_divergence(torch.zeros(2, 3), torch.zeros(2, 3), temperature=0)
    with pytest.raises(ValueError, match="beta: 1"):
        distribution_divergence(torch.zeros(2, 3), torch.zeros(2, 3), beta=1)


def test_a_coarse_distribution_by_hand() -> None:
    """Of (0.5, 0.25, 0.15, 0.1) tokens 2 and 0 and the rest: 0.15, 0.5 and 0.35."""
    logits = torch.tensor([[0.5, 0.25, 0.15, 0.1]], dtype=torch.float64).log() + 2.0
    found = coarse(logits, torch.tensor([[2, 0]])).softmax(1)
    wanted = torch.tensor([[0.15, 0.5, 0.35]], dtype=torch.float64)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)
    with pytest.raises(ValueError, match="4 tokens of 4"):
        coarse(logits, torch.tensor([[0, 1, 2, 3]]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(KINDS), st.integers(1, 7))
def test_a_coarse_divergence_is_below_the_whole_and_exact_with_all_but_one_kept(
    seed: int, kind: Any, kept: int
) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits, ref = 3 * torch.randn(2, 4, 8, dtype=torch.float64, generator=draw)
    ids = ref.topk(kept, dim=1).indices
    whole = distribution_divergence(logits, ref, kind)
    part = distribution_divergence(coarse(logits, ids), coarse(ref, ids), kind)
    assert (part <= whole + 1e-9).all()
    assert (part >= -1e-9).all()
    if kept == 7:
        torch.testing.assert_close(part, whole, atol=1e-9, rtol=1e-9)
    same = distribution_divergence(coarse(ref, ids), coarse(ref, ids), kind)
    torch.testing.assert_close(same, torch.zeros(4, dtype=torch.float64), atol=1e-9, rtol=0)


def test_text_has_its_share_of_the_loss() -> None:
    divergences, logprobs = torch.tensor([1.0, 2.0, 9.0]), torch.tensor([-3.0, -5.0, -7.0])
    weights = torch.tensor([1.0, 0.5, 0.0])
    found = distilled(divergences, weights, logprobs, hard=0.25)
    assert found.total.item() == pytest.approx(0.75 * (1 + 1) + 0.25 * (3 + 2.5))
    assert found.count.item() == 1.5
    assert [part.item() for part in found.metrics["divergence"]] == [3.0, 2.0]
    assert [part.item() for part in found.metrics["nll"]] == [8.0, 2.0]
    assert set(distilled(divergences, weights).metrics) == {"divergence"}
    with pytest.raises(ValueError, match="logprobs: missing"):
        distilled(divergences, weights, hard=0.1)
    with pytest.raises(ValueError, match=r"hard: 1\.5"):
        distilled(divergences, weights, logprobs, hard=1.5)
