from __future__ import annotations

import copy

import pytest
import torch
from tests import tiny
from transformers import PreTrainedModel

from burnish.config import InputError
from burnish.models.adapters import (
    LoraSettings,
    attach,
    has_adapter,
    merge,
    reference,
    trainable_parameters,
)
from burnish.models.forward import token_logprobs
from burnish.text.batches import Batch, Segment, pack

SETTINGS = LoraSettings(r=4, alpha=8)


def batch() -> Batch:
    rows = [[1, 70, 71, 72, 2], [1, 80, 81, 2]]
    return pack([Segment(row, [True] * len(row)) for row in rows])


@torch.no_grad()
def scores(model: PreTrainedModel) -> torch.Tensor:
    return token_logprobs(model, batch()).logprobs


def train(model: PreTrainedModel, steps: int = 10) -> None:
    optimizer = torch.optim.AdamW(trainable_parameters(model), lr=1e-2)
    for _ in range(steps):
        loss = -token_logprobs(model, batch()).logprobs.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("dora", [False, True])
def test_the_reference_is_the_model_before_the_adapter(dora: bool) -> None:
    """C-11: before training and after ten steps."""
    model = tiny.model()
    before = copy.deepcopy(model)
    attach(model, LoraSettings(r=4, alpha=8, dora=dora))
    torch.testing.assert_close(scores(model), scores(before), atol=1e-5, rtol=0)
    train(model)
    assert (scores(model) - scores(before)).abs().max() > 0.1
    with reference(model):
        assert torch.equal(scores(model), scores(before))
    assert (scores(model) - scores(before)).abs().max() > 0.1


def test_an_earlier_adapter_stays_on_in_the_reference() -> None:
    """C-11: preference training's reference is the model with its SFT adapter."""
    model = attach(tiny.model(), SETTINGS)
    train(model)
    tuned = scores(model)
    attach(model, SETTINGS)
    train(model)
    assert (scores(model) - tuned).abs().max() > 0.1
    with reference(model):
        torch.testing.assert_close(scores(model), tuned, atol=1e-5, rtol=0)


def test_only_the_adapter_is_trained() -> None:
    """C-11: embeddings and head do not move, so nothing leaks into the reference."""
    model = attach(tiny.model(), SETTINGS)
    assert all("lora_" in n for n, p in model.named_parameters() if p.requires_grad)
    embeddings = model.get_input_embeddings().weight.clone()
    train(model)
    assert torch.equal(model.get_input_embeddings().weight, embeddings)
    assert "lora_" not in "".join(n for n, _ in model.lm_head.named_parameters())


def test_references_nest_and_leave_training_possible() -> None:
    model = attach(tiny.model(), SETTINGS)
    train(model, 2)
    own = scores(model)
    flags = [p.requires_grad for p in model.parameters()]
    with reference(model):
        outer = scores(model)
        with reference(model):
            assert torch.equal(scores(model), outer)
        assert torch.equal(scores(model), outer)
    assert torch.equal(scores(model), own)
    assert [p.requires_grad for p in model.parameters()] == flags
    with pytest.raises(RuntimeError), reference(model):
        raise RuntimeError
    assert torch.equal(scores(model), own)


def test_scoring_as_reference_inside_a_step_keeps_the_gradient() -> None:
    model = attach(tiny.model(), SETTINGS)
    train(model, 1)
    policy = token_logprobs(model, batch()).logprobs
    with reference(model):
        scores(model)
    policy.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in trainable_parameters(model))


@pytest.mark.parametrize("dora", [False, True])
def test_merged_equals_adapted(dora: bool) -> None:
    """C-33 (in part): merged logits equal adapter logits; the tied head stays tied."""
    model = attach(tiny.model(), LoraSettings(r=4, alpha=8, dora=dora))
    train(model, 3)
    adapted = scores(model)
    merge(model)
    assert not has_adapter(model)
    torch.testing.assert_close(scores(model), adapted, atol=1e-5, rtol=0)
    assert len(trainable_parameters(model)) == len(trainable_parameters(tiny.model()))
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_without_adapter_or_matching_layer() -> None:
    with (
        pytest.raises(ValueError, match="no adapter"),
        reference(tiny.model()),
    ):
        pass
    with pytest.raises(InputError, match="fits no layer"):
        attach(tiny.model(), LoraSettings(target=["no_such_layer"]))
