"""Cross-entropy, distillation, and the sum of two losses."""

from __future__ import annotations

import math

import pytest
import torch

from burnish.objectives import Loss, cross_entropy, full_kl, held_to

HALVES = torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=torch.float64)
OTHERS = torch.tensor([[0.25, 0.75], [0.25, 0.75]], dtype=torch.float64)


def test_full_kl_by_hand() -> None:
    """0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75) = 0.5 ln(4 / 3); equal distributions give 0."""
    found = full_kl(OTHERS.log() + 3.0, HALVES.log() - 1.0)
    expected = torch.tensor([0.5 * math.log(4 / 3), 0.0], dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_the_gradient_of_full_kl_is_p_minus_p_ref() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, ref = torch.randn(2, 5, 7, dtype=torch.float64, generator=draw)
    logits.requires_grad_(True)
    weights = torch.arange(1.0, 6.0, dtype=torch.float64)
    (full_kl(logits, ref) * weights).sum().backward()
    assert logits.grad is not None
    slope = weights[:, None] * (logits.detach().softmax(1) - ref.softmax(1))
    torch.testing.assert_close(logits.grad, slope, atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(lambda x: full_kl(x, ref), (logits,))


def test_full_kl_sends_nothing_into_the_reference_and_checks_shapes() -> None:
    ref = torch.zeros(2, 3, requires_grad=True)
    full_kl(torch.ones(2, 3, requires_grad=True), ref).sum().backward()
    assert ref.grad is None
    with pytest.raises(ValueError, match="ref_logits"):
        full_kl(torch.zeros(2, 3), torch.zeros(2, 4))


def test_held_to_weighs_tokens_and_counts_weights() -> None:
    loss = held_to(torch.tensor([1.0, 2.0, float("nan")]), torch.tensor([1.0, 0.5, 0.0]))
    assert (loss.total.item(), loss.count.item()) == (2.0, 1.5)
    assert [part.item() for part in loss.metrics["anchor_kl"]] == [3.0, 2.0]


def test_two_losses_add_up_as_one_batch_would() -> None:
    logprobs = torch.tensor([-1.0, -2.0, -4.0])
    parts = cross_entropy(logprobs[:1]) + cross_entropy(logprobs[1:])
    whole = cross_entropy(logprobs)
    assert (parts.total, parts.count) == (whole.total, whole.count)
    assert parts.metrics == whole.metrics
    mixed = parts + Loss(torch.tensor(1.0), torch.tensor(2.0), {"other": (torch.ones(()),) * 2})
    assert mixed.metrics.keys() == {"nll", "other"}
    assert (mixed.total.item(), mixed.count.item()) == (8.0, 5.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothing_is_torchs_own_in_value_and_gradient(smoothing: float) -> None:
    """Szegedy et al. 2016, section 7; torch mixes the one-hot target with the uniform one."""
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 11, dtype=torch.float64, generator=draw, requires_grad=True)
    labels = torch.tensor([0, 10, 3, 3, 7])
    expected = torch.nn.functional.cross_entropy(
        logits, labels, label_smoothing=smoothing, reduction="none"
    )
    weights = torch.tensor([1.0, 2.0, 0.0, 0.5, 1.0], dtype=torch.float64)
    (wanted,) = torch.autograd.grad((weights * expected).sum(), logits)
    logprobs = logits.log_softmax(1)
    of_labels = logprobs.gather(1, labels[:, None]).squeeze(1)
    found = cross_entropy(of_labels, weights, label_smoothing=smoothing, mean=logprobs.mean(1))
    assert found.total.item() == pytest.approx((weights * expected).sum().item(), abs=1e-12)
    assert found.count.item() == 4.5
    (slope,) = torch.autograd.grad(found.total, logits)
    torch.testing.assert_close(slope, wanted, atol=1e-12, rtol=0)


def test_the_metric_nll_is_not_smoothed() -> None:
    logprobs, mean = torch.tensor([-1.0, -2.0]), torch.tensor([-5.0, -6.0])
    found = cross_entropy(logprobs, label_smoothing=0.5, mean=mean)
    assert found.total.item() == pytest.approx(0.5 * 3 + 0.5 * 11)
    assert [part.item() for part in found.metrics["nll"]] == [3.0, 2.0]


def test_label_smoothing_needs_the_mean_and_a_share_below_1() -> None:
    logprobs = torch.tensor([-1.0, -2.0])
    with pytest.raises(ValueError, match="mean: missing"):
        cross_entropy(logprobs, label_smoothing=0.1)
    for bad in (-0.1, 1.0):
        with pytest.raises(ValueError, match="label_smoothing"):
            cross_entropy(logprobs, label_smoothing=bad, mean=logprobs)
    with pytest.raises(ValueError, match=r"mean: shape \[1\]"):
        cross_entropy(logprobs, label_smoothing=0.1, mean=logprobs[:1])
