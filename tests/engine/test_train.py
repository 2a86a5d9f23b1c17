from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine import fits
from torch import nn

from burnish.config import InputError
from burnish.engine import StepInfo, TrainingDiverged, optim
from burnish.objectives.types import Loss
from burnish.store import checkpoints
from burnish.text.batches import Batch


def test_metrics_of_each_step(tmp_path: Path) -> None:
    result = fits.fit(fits.model(), metrics=tmp_path / "m.jsonl", tags={"stage": "sft", "round": 1})
    assert result.steps == len(result.history) == 12
    assert result.stopped_reason == "finished"
    assert [row["step"] for row in result.history] == list(range(1, 13))
    row = result.history[-1]
    assert {"loss", "learning_rate", "grad_norm", "tokens", "tokens_per_second", "nll"} <= set(row)
    assert row["loss"] == pytest.approx(row["nll"])
    assert result.tokens == 2 * sum(len(s.tokens) for s in fits.segments(23)) == row["tokens"]
    first = (tmp_path / "m.jsonl").read_text().splitlines()[0]
    assert first.startswith('{"stage": "sft", "round": 1, "step": 1, ')


def test_fits_share_a_metrics_file(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    for number in (1, 2, 1):
        fits.fit(fits.model(), {"max_steps": 3}, metrics=path, tags={"round": number})
    assert len(path.read_text().splitlines()) == 6


def test_the_models_mode_is_put_back() -> None:
    model = fits.model().eval()
    seen: list[bool] = []

    def loss(model: Any, batch: Batch) -> Loss:
        seen.append(model.training)
        return fits.nll(model, batch)

    fits.fit(model, {"max_steps": 2}, loss=loss)
    assert all(seen)
    assert not model.training


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_stops_before_a_step_that_is_not_finite(poison: str, tmp_path: Path) -> None:
    # a NaN in one batch.
    model = fits.model()
    before: list[dict[str, torch.Tensor]] = []

    def loss(model: Any, batch: Batch) -> Loss:
        found = fits.nll(model, batch)
        if "record-11" not in batch.ids:
            return found
        before.append(fits.weights(model))
        if poison == "loss":
            return Loss(found.total * float("nan"), found.count)
        # The square root of 0 is 0 and its slope infinite.
        weight = next(iter(model.parameters()))
        return Loss(found.total + (weight.sum() * 0).sqrt(), found.count)

    with pytest.raises(TrainingDiverged, match=r"step \d: the (loss|norm).*record-11") as caught:
        fits.fit(model, {"save_steps": 1}, loss=loss, scratch=tmp_path)
    number = int(str(caught.value).split(":")[0].removeprefix("step "))
    assert fits.same(fits.weights(model), before[0])
    found = checkpoints.newest(tmp_path)
    assert found is None or found.step == number - 1


def test_absurd_learning_rate(tmp_path: Path) -> None:
    # the last checkpoint is finite.
    with pytest.raises(TrainingDiverged, match="learning rate 9"):
        fits.fit(fits.model(), {"learning_rate": 1e20, "save_steps": 1}, scratch=tmp_path)
    groups, _ = fits.saved(tmp_path)
    assert all(bool(torch.isfinite(value).all()) for value in groups["weights"].values())


def test_a_window_without_targets_takes_no_step() -> None:
    model = fits.model()
    before = fits.weights(model)

    def nothing(model: Any, batch: Batch) -> Loss:
        zero = torch.zeros(())
        return Loss(zero, zero)

    result = fits.fit(model, loss=nothing)
    assert fits.same(fits.weights(model), before)
    assert {row["loss"] for row in result.history} == {0.0}


def test_nothing_trainable() -> None:
    with pytest.raises(InputError, match="no parameter to train"):
        fits.fit(fits.model().requires_grad_(False))


def test_patience_keeps_the_best_weights() -> None:
    losses = iter([3.0, 2.0, 2.5, 2.0, 1.0])
    model = fits.model()
    at: list[dict[str, torch.Tensor]] = []

    def evaluate() -> dict[str, float]:
        assert not model.training
        at.append(fits.weights(model))
        return {"loss": next(losses), "general_ppl": 7.0}

    result = fits.fit(model, {"eval_every": 2, "patience": 2}, evaluate=evaluate)
    assert (result.stopped_reason, result.steps) == ("patience", 8)
    assert fits.same(fits.weights(model), at[1])
    assert not fits.same(fits.weights(model), at[3])
    assert [row["eval_loss"] for row in result.history if "eval_loss" in row] == [3, 2, 2.5, 2]
    assert result.history[1]["general_ppl"] == 7.0


def test_rollback_and_stop() -> None:
    model = fits.model()
    at: dict[int, dict[str, torch.Tensor]] = {0: fits.weights(model)}

    def watch(info: StepInfo) -> Any:
        at[info.step] = fits.weights(model)
        return {2: "mark", 4: "rollback"}.get(info.step)

    result = fits.fit(model, on_step=watch)
    assert (result.stopped_reason, result.steps) == ("rollback", 4)
    assert fits.same(fits.weights(model), at[2])

    model = fits.model()
    fits.fit(model, on_step=lambda info: "rollback" if info.step == 3 else None)
    assert fits.same(fits.weights(model), at[0])

    model = fits.model()
    result = fits.fit(model, on_step=lambda info: "stop" if info.step == 3 else None)
    assert (result.stopped_reason, result.steps) == ("stop", 3)
    assert fits.same(fits.weights(model), at[3])


def test_evaluation_does_not_shift_random_state() -> None:
    #
    plain, watched = fits.model(), fits.model()

    def evaluate() -> dict[str, float]:
        torch.rand(3)
        return {"noise": 1.0}

    fits.fit(plain)
    fits.fit(watched, {"eval_every": 1}, evaluate=evaluate, on_step=lambda info: None)
    assert fits.same(fits.weights(plain), fits.weights(watched))


def test_weight_decay_spares_vectors_and_embeddings() -> None:
    trainable = optim.named_trainable(model=fits.model(), head=nn.Linear(16, 1))
    spared = {name for name, value in trainable.items() if not optim.decays(name, value)}
    assert "model.model.embed_tokens.weight" in spared
    assert "model.model.norm.weight" in spared
    assert "head.bias" in spared
    assert "head.weight" not in spared
    assert "model.model.layers.0.mlp.up_proj.weight" not in spared


def test_only_the_trainable_part_is_saved(tmp_path: Path) -> None:
    model = fits.model()
    chosen = {"norm": model.model.norm.weight}
    before = fits.weights(model)
    fits.fit(model, trainable=chosen, scratch=tmp_path)
    groups, _ = fits.saved(tmp_path)
    assert list(groups["weights"]) == ["norm"]
    changed = [n for n, value in fits.weights(model).items() if not torch.equal(value, before[n])]
    assert changed == ["model.norm.weight"]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_learning_works_and_the_wrong_sign_does_not(seed: int, sign: float) -> None:
    # C-44 for language modelling: 23 fixed sequences.
    def loss(model: Any, batch: Batch) -> Loss:
        found = fits.nll(model, batch)
        return Loss(sign * found.total, found.count, found.metrics)

    model = fits.model(seed, attention_dropout=0.0)
    result = fits.fit(model, {"epochs": 10, "learning_rate": 0.02}, loss=loss)
    gain = result.history[0]["nll"] - result.history[-1]["nll"]
    assert gain > 1.0 if sign > 0 else gain < 0
