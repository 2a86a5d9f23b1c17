"""Memory of a step, worked out without weights, against hand counts and what really happens."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.engine import fits

from benchmarks import memory
from burnish.config import InputError
from burnish.engine import optim
from burnish.engine.rehearsal import rehearse
from burnish.models.adapters import LoraSettings
from burnish.models.forward import hidden
from burnish.models.outline import Outline, outline, size_of
from burnish.text.batches import Segment, pack

LENGTHS = (24, 24, 16)
T, D, INNER, HEADS, KV, SIZE, LAYERS, V = 64, 32, 64, 4, 2, 8, 2, len(tiny.tokenizer())
# What autograd keeps of a Llama layer, in numbers of 4 bytes. Each norm: its input and one root a
# token; its output is kept by the projections. Attention: queries, keys and values (rotated, in
# cells), its result in cells and, as o_proj's input, packed, a log-sum a head. MLP: gate, up, and
# their product.
NORM = T * D + T
LAYER = (
    2 * (NORM + T * D)
    + 3 * T * HEADS * SIZE + 2 * T * KV * SIZE + T * HEADS
    + 3 * T * INNER
)  # fmt: skip


def tiny_outline(folder: Path, **options: Any) -> Outline:
    tiny.model().config.save_pretrained(folder)
    return outline(str(folder), torch.float32, **options)


def saved(model: Any, lengths: tuple[int, ...]) -> int:
    """Bytes that autograd keeps of a real forward pass, other than the weights."""
    own = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and tensor.is_floating_point():
            kept[storage._cdata] = storage
        return tensor

    batch = pack([Segment([7] * n, [True] * n, str(n)) for n in lengths])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        states = hidden(model, batch)
    assert states.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def test_activations_by_hand_and_as_autograd_keeps_them(tmp_path: Path) -> None:
    lengths = (32, 32)  # one grid without padding: as many cells as tokens
    found = rehearse(tiny_outline(tmp_path), lengths, several=True)
    # The last norm beside the layers, its output, and the cosines and sines all layers share.
    by_hand = 4 * (LAYERS * LAYER + NORM + T * D + 2 * T * SIZE)
    really = saved(tiny.model(), lengths) + 4 * T * D  # nobody has used the last output yet
    assert really == by_hand
    assert found.activations == pytest.approx(by_hand, rel=0.02)  # index tensors come on top
    assert found.activations > by_hand


def test_the_rest_by_hand(tmp_path: Path) -> None:
    model = tiny.model()
    found = rehearse(tiny_outline(tmp_path), LENGTHS, several=True)
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    buffers = size_of(model.buffers())
    assert (found.weights, found.gradients) == (weights + buffers, weights)
    optimizer = optim.build_optimizer(optim.named_trainable(model=model), fits.settings())
    fits.nll(model, pack([Segment([7] * 24, [True] * 24)])).total.backward()
    optimizer.step()
    moments = [m for s in optimizer.state.values() for n, m in s.items() if n != "step"]
    assert found.optimizer == size_of(moments) == 2 * weights
    assert found.head >= 4 * (T - 1) * V  # the logits
    assert found.total == sum(dataclasses.astuple(found))


def test_one_micro_batch_has_no_gradients_beside_all_activations(tmp_path: Path) -> None:
    made = tiny_outline(tmp_path)
    one, more = (rehearse(made, LENGTHS, several=several) for several in (False, True))
    assert one.gradients < more.gradients
    assert more.total - one.total == more.gradients - one.gradients


def test_recomputed_layers_keep_their_inputs_alone(tmp_path: Path) -> None:
    made = tiny_outline(tmp_path)
    plain, again = (rehearse(made, LENGTHS, several=True, recompute=r) for r in (False, True))
    inputs = 4 * (LAYERS * T * D + NORM + T * D + 2 * T * SIZE)
    assert again.activations == pytest.approx(inputs, rel=0.15)
    assert again.total < plain.total
    assert not made.model.training


def test_an_adapter_and_half_precision(tmp_path: Path) -> None:
    whole = rehearse(tiny_outline(tmp_path), LENGTHS, several=True)
    lora = rehearse(tiny_outline(tmp_path, lora=LoraSettings(r=2)), LENGTHS, several=True)
    # r numbers for each input and output of the seven projections, 4 bytes each.
    ends = 4 * D + 2 * (D + KV * SIZE) + 3 * (D + INNER)
    assert lora.gradients == 4 * 2 * LAYERS * ends
    assert lora.optimizer == 2 * lora.gradients
    half = rehearse(outline(str(tmp_path), torch.bfloat16), LENGTHS, several=True)
    assert half.optimizer == whole.optimizer // 2
    assert whole.activations / 2 < half.activations < whole.activations


def test_an_anchor_takes_room_beside_the_model(tmp_path: Path) -> None:
    made = tiny_outline(tmp_path)
    anchor = tiny_outline(tmp_path, fake=made.fake)
    plain = rehearse(made, LENGTHS, several=True)
    held = rehearse(made, LENGTHS, several=True, anchor=anchor)
    assert held.total > plain.total
    assert held.weights == plain.weights


def test_a_mixture_of_experts_is_refused_in_words(tmp_path: Path) -> None:
    config = {
        "model_type": "mixtral", "hidden_size": 32, "intermediate_size": 32, "vocab_size": 64,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "num_local_experts": 4,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="'mixtral'"):
        rehearse(outline(str(tmp_path), torch.float32), LENGTHS, several=True)


def off(job: memory.Job) -> float:
    found = memory.compare(job)
    return float(found["estimated"]["total"] / found["measured"]["bytes"] - 1)


def test_a_process_grows_as_estimated() -> None:
    assert abs(off(memory.Job("small", tokens=1024, steps=2))) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize(("recompute", "lora"), [(False, False), (True, False), (False, True)])
def test_a_process_grows_as_estimated_whatever_it_trains(recompute: bool, lora: bool) -> None:
    assert abs(off(memory.Job("small", 4096, recompute=recompute, lora=lora))) < 0.15
