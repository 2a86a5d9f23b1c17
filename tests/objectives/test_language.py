"""Cross-entropy, what is held to another model, and the sum of two losses."""

from __future__ import annotations

import pytest
import torch

from burnish.objectives import Loss, cross_entropy, held_to


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
