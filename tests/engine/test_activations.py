from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engine import fits
from torch import Tensor, nn

from burnish.config import InputError, Interrupted
from burnish.engine import DatasetSource, train
from burnish.engine.activations import random_parts, recomputed
from burnish.models import adapters
from burnish.text.batches import pack

AGAIN = {"extras": {"checkpoint_activations": True}}


def count_layers(model: Any) -> list[int]:
    """Grows by one whenever the first layer's MLP is computed."""
    calls: list[int] = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


def gradients(recompute: bool, lora: bool) -> tuple[dict[str, Tensor], int]:
    model = fits.model().train()
    if lora:
        adapters.attach(model, adapters.LoraSettings(r=2))
    calls = count_layers(model)
    torch.manual_seed(3)
    with recomputed(model, recompute):
        fits.nll(model, pack(fits.segments(6))).total.backward()
    assert not model.is_activation_checkpointing
    assert not model.get_input_embeddings()._forward_hooks
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return found, len(calls)


@pytest.mark.parametrize("lora", [False, True])
def test_gradients_are_the_same_and_layers_are_computed_twice(lora: bool) -> None:
    # With dropout of 0.1: the second computation has to draw the same numbers.
    plain, once = gradients(False, lora)
    again, twice = gradients(True, lora)
    assert (once, twice) == (1, 2)
    assert plain
    assert fits.same(plain, again)


def test_what_was_on_before_stays_on() -> None:
    model = fits.model()
    model.activation_checkpointing_enable()
    with recomputed(model, True):
        assert model.is_activation_checkpointing
    assert model.is_activation_checkpointing


def test_a_fit_is_the_same_and_may_switch_it_on_when_resumed(tmp_path: Path) -> None:
    plain, whole, again = fits.model(), fits.model(), fits.model(seed=9)
    fits.fit(plain)
    fits.fit(whole, AGAIN)
    assert fits.same(fits.weights(plain), fits.weights(whole))
    with pytest.raises(Interrupted):
        fits.fit(fits.model(), on_step=fits.interrupt_at(5), scratch=tmp_path)
    fits.fit(again, AGAIN, scratch=tmp_path)
    assert fits.same(fits.weights(plain), fits.weights(again))


def without_dropout(model: Any, **changes: Any) -> int:
    """Steps of one micro-batch from a source that wants dropout off; computations of a layer."""
    settings = fits.settings(max_steps=2, tokens_per_batch=1000, **changes)
    source = DatasetSource(fits.segments(23), settings, seed=5)
    source.dropout = False
    calls = count_layers(model)
    train(model, source, fits.nll, settings, seed=0)
    assert not model.training
    return len(calls)


def test_a_source_without_dropout() -> None:
    # transformers computes again in train mode only, which must not bring dropout back.
    plain, again = fits.model(attention_dropout=0.0), fits.model(attention_dropout=0.0)
    assert without_dropout(plain) == 2
    assert without_dropout(again, **AGAIN) == 4
    assert fits.same(fits.weights(plain), fits.weights(again))
    with pytest.raises(InputError, match=r"attention_dropout 0\.1"):
        without_dropout(fits.model(), **AGAIN)


def test_what_is_random_in_a_model() -> None:
    assert random_parts(fits.model(attention_dropout=0.0)) == []
    parts = nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.5))
    assert random_parts(parts) == ["a Dropout layer"]


def test_a_model_that_cannot() -> None:
    with pytest.raises(InputError, match="Linear has no layers"), recomputed(nn.Linear(2, 2), True):
        raise AssertionError
