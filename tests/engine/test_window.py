from __future__ import annotations

import pytest
import torch
from tests.engine import fits

from burnish.engine import optim
from burnish.engine.window import accumulate
from burnish.text.batches import Segment, pack


def gradients(groups: list[list[Segment]], wrong: bool = False) -> torch.Tensor:
    """The window's gradient as one vector; ``wrong``: the mean of the micro-batches' means."""
    model = fits.model(attention_dropout=0.0)
    trainable = optim.named_trainable(model=model)
    if wrong:
        for group in groups:
            loss = fits.nll(model, pack(group))
            (loss.total / loss.count / len(groups)).backward()
    else:
        sums = accumulate(model, fits.nll, [pack(group) for group in groups])
        optimizer = optim.build_optimizer(trainable, fits.settings())
        optim.step(optimizer, sums.count, torch.zeros(()), limit=1.0)
    return torch.cat([p.grad.flatten() for p in trainable.values() if p.grad is not None])


def split(segments: list[Segment], size: int) -> list[list[Segment]]:
    return [segments[i : i + size] for i in range(0, len(segments), size)]


@pytest.mark.parametrize("size", [8, 4, 2, 1, 3])
def test_gradient_does_not_depend_on_micro_batches(size: int) -> None:
    # C-06: 8x1, 4x2, 2x4, 1x8 and a short last micro-batch.
    records = fits.segments(8, seed=3, longest=40)
    whole = gradients([records])
    parts = gradients(split(records, size))
    assert ((parts - whole).norm() / whole.norm()).item() <= 1e-6


def test_mean_of_means_is_another_gradient() -> None:
    # C-06, the negative control: the test above can fail.
    records = fits.segments(8, seed=3, longest=40)
    whole, wrong = gradients([records]), gradients(split(records, 1), wrong=True)
    assert ((wrong - whole).norm() / whole.norm()).item() > 0.05


def test_loss_and_metrics_are_divided_by_the_window() -> None:
    records = fits.segments(5, seed=1)
    model = fits.model(attention_dropout=0.0)
    sums = accumulate(model, fits.nll, [pack(group) for group in split(records, 2)])
    whole = fits.nll(model, pack(records))
    expected = (whole.total / whole.count).item()
    assert sums.loss == pytest.approx(expected, rel=1e-6)
    assert sums.metrics["nll"] == pytest.approx(expected, rel=1e-6)
    assert sums.tokens == sum(len(record.tokens) for record in records)
    assert sums.targets == sum(sum(record.mask[1:]) for record in records)
