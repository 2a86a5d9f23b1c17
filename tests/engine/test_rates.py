"""Parts of what is trained that learn faster or slower than the rest."""

from __future__ import annotations

import pytest
import torch
from tests.engine import fits
from torch import nn

from burnish.config import InputError
from burnish.engine.optim import named_trainable
from burnish.objectives import Loss
from burnish.text.batches import Batch


def moved(rates: dict[str, float]) -> dict[str, float]:
    """How far each weight of two layers goes in one step, in learning rates."""
    model = nn.ModuleDict({"a": nn.Linear(1, 1, bias=False), "b": nn.Linear(1, 1, bias=False)})
    head = nn.Linear(1, 1, bias=False)
    before = {name: p.item() for name, p in named_trainable(model=model, head=head).items()}

    def loss(model: nn.ModuleDict, batch: Batch) -> Loss:
        total = 5.0 * (model["a"].weight + model["b"].weight + head.weight).sum()
        return Loss(total, torch.tensor(1))

    trainable = named_trainable(model=model, head=head)
    changes = {"max_steps": 1, "schedule": "constant", "warmup": 0.0, "weight_decay": 0.0,
               "learning_rate": 0.5, "extras": {"rates": rates}}  # fmt: skip
    fits.fit(model, changes, loss=loss, trainable=trainable)
    return {name: (before[name] - p.item()) / 0.5 for name, p in trainable.items()}


def test_the_longest_name_says_how_fast_a_part_learns() -> None:
    # Adam's first step is one learning rate, whatever the gradient.
    found = moved({"head": 4.0, "model": 0.5, "model.b": 2.0})
    expected = {"head.weight": 4.0, "model.a.weight": 0.5, "model.b.weight": 2.0}
    assert found == pytest.approx(expected, rel=1e-4)
    assert moved({}) == pytest.approx(dict.fromkeys(expected, 1.0), rel=1e-4)


def test_a_name_that_begins_no_parameters_name_is_refused() -> None:
    with pytest.raises(InputError, match=r"train\.extras\.rates.*hea.*head, model"):
        moved({"hea": 2.0})
