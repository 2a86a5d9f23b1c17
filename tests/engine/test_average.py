from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine import fits
from torch import nn

from burnish.config import Interrupted
from burnish.engine import StepInfo, average
from burnish.store import checkpoints
from burnish.text.batches import Batch

EMA = {"extras": {"ema": 0.7}, "tokens_per_batch": 1000}


def test_update_by_hand() -> None:
    # d is 1/10 at step 0, 2/11 at step 1: 0.1 * 0 + 0.9 * 1, then 2/11 * 0.9 + 9/11 * 2.
    trainable = {"w": nn.Parameter(torch.tensor([0.0]))}
    mean = average.begin(trainable)
    for step, value in ((0, 1.0), (1, 2.0)):
        trainable["w"].data.fill_(value)
        average.update(mean, trainable, 0.999, step)
    assert mean["w"].item() == pytest.approx((2 * 0.9 + 9 * 2) / 11)
    # From where (1 + t) / (10 + t) is larger, the decay itself.
    average.update(mean, {"w": nn.Parameter(torch.tensor([0.0]))}, 0.05, 2)
    assert mean["w"].item() == pytest.approx(0.05 * (2 * 0.9 + 9 * 2) / 11)


def test_coarse_weights_are_averaged_in_float32() -> None:
    # A thousandth of the way from 1 to 2 is lost in bfloat16.
    trainable = {"w": nn.Parameter(torch.ones(1, dtype=torch.bfloat16))}
    mean = average.begin(trainable)
    trainable["w"].data.fill_(2.0)
    average.update(mean, trainable, 0.999, 10**6)
    assert mean["w"].item() == pytest.approx(1.001)
    with average.in_place(trainable, mean):
        assert trainable["w"].dtype == torch.bfloat16
        assert trainable["w"].item() == 1.0
    assert trainable["w"].item() == 2.0


def watched(changes: dict[str, Any], evaluate: bool) -> tuple[Any, list[Any], list[Any]]:
    """A fit's model, the weights before each step, and those that ``on_step`` sees after it."""
    model, before, after = fits.model(), [], []

    def loss(trained: Any, batch: Batch) -> Any:
        if trained.training:
            before.append(fits.weights(trained))
        return fits.nll(trained, batch)

    def watch(info: StepInfo) -> None:
        after.append(fits.weights(model))

    extra: dict[str, Any] = {}
    if evaluate:
        extra["evaluate"] = lambda: {"weight": float(model.model.norm.weight.sum())}
    result = fits.fit(model, changes, loss=loss, on_step=watch, **extra)
    return model, before, [*after, result]


def test_training_goes_on_as_without_and_ends_with_the_average() -> None:
    changes = EMA | {"eval_every": 1}
    model, before, after = watched(changes, evaluate=True)
    _, plain, _ = watched({"tokens_per_batch": 1000}, evaluate=False)
    assert len(before) == len(plain) == 12
    assert all(fits.same(one, other) for one, other in zip(before, plain, strict=True))
    # The weights before step k + 1 are those after step k: the average again from its definition.
    name = "model.norm.weight"
    mean = before[0][name]
    result = after.pop()
    for step in range(11):
        decay = min(0.7, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * before[step + 1][name]
        assert torch.allclose(after[step][name], mean, atol=1e-6)
        assert result.history[step]["weight"] == pytest.approx(float(mean.sum()), abs=1e-4)
        if step:
            assert not torch.allclose(after[step][name], before[step + 1][name], atol=1e-6)
    assert fits.same(fits.weights(model), after[-1])


def test_best_marked_and_rolled_back_weights_are_averages() -> None:
    losses = iter([2.0, 1.0, 3.0])
    model, at = fits.model(), []

    def evaluate() -> dict[str, float]:
        at.append(fits.weights(model))
        return {"loss": next(losses)}

    fits.fit(model, EMA | {"eval_every": 4}, evaluate=evaluate)
    assert fits.same(fits.weights(model), at[1])

    def watch(info: StepInfo) -> Any:
        marked[info.step] = fits.weights(rolled)
        return {3: "mark", 6: "rollback"}.get(info.step)

    rolled, marked = fits.model(), {}
    fits.fit(rolled, EMA, on_step=watch)
    assert fits.same(fits.weights(rolled), marked[3])


def test_resumed_average_is_bit_for_bit_the_uninterrupted_one(tmp_path: Path) -> None:
    #
    whole = fits.model()
    fits.fit(whole, EMA)
    with pytest.raises(Interrupted):
        fits.fit(fits.model(), EMA, on_step=fits.interrupt_at(7), scratch=tmp_path)
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert not fits.same(found.tensors("weights"), found.tensors("kept_average"))
    again = fits.model(seed=9)
    fits.fit(again, EMA, scratch=tmp_path)
    assert fits.same(fits.weights(whole), fits.weights(again))
