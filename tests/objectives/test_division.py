"""Objectives give sums, the engine divides them: once, over all batches of a window."""

from __future__ import annotations

import pytest
from tests.engine import fits
from torch import nn

from burnish.engine.optim import build_optimizer, gradient_norm, named_trainable, step
from burnish.engine.window import accumulate
from burnish.objectives import Loss, cross_entropy
from burnish.text.batches import Batch, Segment, pack


@pytest.mark.parametrize("limit", [100.0, 2.0])
def test_the_gradient_is_the_mean_over_the_window(limit: float) -> None:
    # C-06: log p = w * token at each target, so that the gradient is minus the tokens' mean,
    # and no longer than the limit.
    model = nn.Linear(1, 1, bias=False)

    def loss(model: nn.Linear, batch: Batch) -> Loss:
        return cross_entropy(model.weight[0, 0] * batch.tokens[batch.targets].float())

    batches = [
        pack([Segment([9, *tokens], [False] + [True] * len(tokens))])
        for tokens in ([1, 2, 3], [10])
    ]
    sums = accumulate(model, loss, batches)
    assert sums.count == 4
    trainable = named_trainable(model=model)
    norm = gradient_norm(trainable, sums.count)
    assert norm.item() == pytest.approx(4.0)
    step(build_optimizer(trainable, fits.settings()), sums.count, norm, limit=limit)
    assert model.weight.grad is not None
    assert model.weight.grad.item() == pytest.approx(-min((1 + 2 + 3 + 10) / 4, limit))
