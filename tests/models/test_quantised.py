"""Adapters over 4-bit weights (QLoRA, Dettmers et al. 2023), for real, on the CPU."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from tests import tiny
from torch import nn
from transformers import PreTrainedModel

from burnish.config import InputError
from burnish.engine.flops import cost
from burnish.models import adapters, quantised
from burnish.models.adapters import LoraSettings
from burnish.models.forward import token_logprobs
from burnish.models.load import load_model, save_model
from burnish.text.batches import Batch, Segment, pack

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
ROWS = [[1, 70, 71, 72, 2], [1, 80, 81, 2], [1, *range(90, 120), 2]]
# Values of NF4 on both sides of zero (Dettmers et al. 2023, appendix E), to four places.
NF4 = torch.tensor(
    [-1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0,
     0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]
)  # fmt: skip


def batch(rows: list[list[int]] = ROWS) -> Batch:
    return pack([Segment(row, [True] * len(row)) for row in rows])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_model(tiny.model(hidden_size=64), tiny.tokenizer(), tmp_path / "model")


def rounded(weight: torch.Tensor) -> torch.Tensor:
    """NF4 by the paper: 64 weights share a scale, each goes to the nearest of 16 values."""
    blocks = weight.reshape(-1, 64)
    scale = blocks.abs().amax(1, keepdim=True)
    nearest = (blocks[..., None] / scale[..., None] - NF4).abs().argmin(-1)
    return (NF4[nearest] * scale).reshape(weight.shape)


def rounded_by_hand(model: PreTrainedModel) -> PreTrainedModel:
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and name != "lm_head":
                module.weight.copy_(rounded(module.weight))
    return model


def train(model: PreTrainedModel, steps: int = 10) -> None:
    optimizer = torch.optim.AdamW(adapters.trainable_parameters(model), lr=1e-2)
    for _ in range(steps):
        loss = -token_logprobs(model, batch()).logprobs.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def scores(model: PreTrainedModel, rows: list[list[int]] = ROWS) -> torch.Tensor:
    return token_logprobs(model, batch(rows)).logprobs


def apart(one: PreTrainedModel, other: PreTrainedModel) -> float:
    return (scores(one) - scores(other)).abs().mean().item()


@needs_bitsandbytes
def test_the_weights_are_nf4(folder: Path) -> None:
    """Against NF4 by hand: only the scales differ, which are in 8 bits themselves."""
    found = load_model(folder, device="cpu", bits=4).model
    assert quantised.is_quantised(found)
    by_hand = rounded_by_hand(load_model(folder, device="cpu").model)
    plain = load_model(folder, device="cpu").model
    assert apart(found, by_hand) < apart(found, plain) / 10
    assert found.lm_head.weight is found.get_input_embeddings().weight
    assert found.lm_head.weight.dtype == torch.float32


@needs_bitsandbytes
def test_every_sequence_is_computed_as_if_alone(folder: Path) -> None:
    """C-05: what stands beside a sequence does not change it."""
    model = load_model(folder, device="cpu", bits=4).model
    alone = torch.cat([scores(model, [row]) for row in ROWS])
    torch.testing.assert_close(scores(model), alone, atol=1e-5, rtol=0)


@needs_bitsandbytes
def test_gradients_flow_through_rounded_weights_after_a_pass_without_them(folder: Path) -> None:
    """bitsandbytes would pack weights at the first pass in eval mode and then pass no gradient."""
    model = adapters.attach(
        load_model(folder, device="cpu", bits=4).model, LoraSettings(r=4, bits=4)
    )
    same = {name: w for name, w in model.named_parameters() if w.requires_grad}
    plain = adapters.attach(
        rounded_by_hand(load_model(folder, device="cpu").model), LoraSettings(r=4)
    )
    own = {name: w for name, w in plain.named_parameters() if w.requires_grad}
    assert same.keys() == own.keys()
    torch.manual_seed(0)
    for name, weight in own.items():
        weight.data = torch.randn_like(weight) * 0.1
        same[name].data = weight.data.clone()
    for part in (model, plain):
        scores(part)
        token_logprobs(part, batch()).logprobs.sum().backward()
    for name, weight in own.items():
        gap = (same[name].grad - weight.grad).norm() / weight.grad.norm()
        assert gap < 0.05, f"{name}: {gap}"


@needs_bitsandbytes
@pytest.mark.parametrize("dora", [False, True])
def test_the_reference_is_the_rounded_model(folder: Path, dora: bool) -> None:
    """C-11, with the base in 4 bits: before training and after ten steps."""
    model = load_model(folder, device="cpu", bits=4).model
    before = scores(model)
    adapters.attach(model, LoraSettings(r=4, alpha=8, dora=dora, bits=4))
    torch.testing.assert_close(scores(model), before, atol=1e-4, rtol=0)
    train(model)
    assert (scores(model) - before).abs().max() > 0.1
    with adapters.reference(model):
        assert torch.equal(scores(model), before)


@needs_bitsandbytes
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_adapter_is_merged_into_weights_that_are_not_rounded(
    folder: Path, dora: bool, dtype: torch.dtype
) -> None:
    """C-33 (in part): what merging into the true weights changes is what rounding them did.

    The loss of the merge, measured in nats a token: about as far from the trained policy as the
    base was from its rounded self, and far nearer than the base is.
    """
    model = load_model(folder, device="cpu", dtype=dtype, bits=4).model
    base = load_model(folder, device="cpu", dtype=dtype).model
    rounding = apart(model, base)
    adapters.attach(model, LoraSettings(r=4, alpha=8, dora=dora, bits=4))
    train(model)
    learnt = apart(model, base)
    with pytest.raises(ValueError, match="not merged into quantised weights"):
        adapters.merge(model)
    whole = adapters.merged_into(load_model(folder, device="cpu", dtype=dtype).model, model)
    assert not adapters.has_adapter(whole)
    assert {w.dtype for w in whole.parameters()} == {dtype}
    assert apart(whole, model) < min(2 * rounding, learnt / 4)
    # By hand: W + (alpha / r) B A, with W from the folder.
    if not dora and dtype == torch.float32:
        layer = model.model.layers[1].mlp.down_proj
        delta = 2 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
        expected = base.model.layers[1].mlp.down_proj.weight + delta
        torch.testing.assert_close(whole.model.layers[1].mlp.down_proj.weight, expected)


@needs_bitsandbytes
def test_rows_that_a_template_added_come_along(tmp_path: Path) -> None:
    """They are drawn at random when the model is loaded: read again, they would be others."""
    folder = save_model(tiny.model(), tiny.tokenizer(None), tmp_path / "model")
    model = load_model(folder, device="cpu", template="chatml", bits=4).model
    rows = model.get_input_embeddings().weight.clone()
    adapters.attach(model, LoraSettings(r=4, bits=4))
    whole = adapters.merged_into(load_model(folder, device="cpu").model, model)
    assert len(rows) > len(tiny.tokenizer())
    assert torch.equal(whole.get_input_embeddings().weight, rows)
    assert whole.lm_head.weight is whole.get_input_embeddings().weight


@needs_bitsandbytes
def test_two_weights_to_a_byte_are_counted_as_two(folder: Path) -> None:
    model, plain = (load_model(folder, device="cpu", bits=bits).model for bits in (4, None))
    assert sum(w.numel() for w in model.parameters()) < sum(w.numel() for w in plain.parameters())
    plain.requires_grad_(False)
    model.requires_grad_(False)
    assert cost(model) == cost(plain)


@needs_bitsandbytes
def test_what_is_quantised_already_is_not_rounded_again(folder: Path, tmp_path: Path) -> None:
    loaded = load_model(folder, device="cpu", bits=4)
    again = save_model(loaded.model, loaded.tokenizer, tmp_path / "rounded")
    with pytest.raises(InputError, match="quantised already"):
        load_model(again, device="cpu", bits=4)


def test_no_such_device_and_no_package(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="not installed; pip install bitsandbytes"):
        load_model(folder, device="cpu", bits=4)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "found")
    assert quantised.problems("auto") == quantised.problems("cuda:1") == []
    (problem,) = quantised.problems("mps")
    assert str(problem) == "lora.bits: no 4-bit weights on device 'mps'; one of cuda, cpu"
