"""Fits with ``lora.bits: 4``: what they train on, remember and save."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.stages.fits import context
from tests.stages.test_dpo import pair
from tests.stages.test_reference import UNITS, never

from burnish.config import InputError
from burnish.models.heads import ScalarHead
from burnish.models.load import load_model, save_model
from burnish.records import Example, Prompt, Record
from burnish.stages.base import Inputs, Outcome
from burnish.stages.fit import dpo, ppo, reward, sft
from burnish.stages.reference import with_reference
from burnish.store import tables

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)
SETTINGS: dict[str, Any] = {
    "model": "m",
    "lora": {"r": 4, "bits": 4},
    "train": {"max_steps": 3, "segments_per_step": 8, "learning_rate": 1e-2},
}
EXAMPLES = [
    Example(
        id=str(n),
        messages=[{"role": "user", "content": f"the {n}"}, {"role": "assistant", "content": "ant"}],
    )
    for n in range(12)
]


def fitted(
    stage: Any, records: Sequence[Record], folder: Path, name: str = "data", **changes: Any
) -> Outcome:
    if not (folder / "model").exists():
        save_model(
            tiny.model(), tiny.tokenizer(changes.pop("chat", tiny.TEMPLATE)), folder / "model"
        )
    tables.write(folder / "data.jsonl", records)
    inputs = Inputs({"model": [str(folder / "model")], name: [str(folder / "data.jsonl")]})
    config = stage.Config.model_validate({**SETTINGS, name: ["d"], **changes})
    outcome: Outcome = stage.run(config, inputs, context(folder))
    return outcome


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_preference_training_begins_at_the_rounded_reference(tmp_path: Path) -> None:
    """C-20: ln 2 before the first step; the saved folder is whole, unrounded and has moved."""
    fitted(dpo, [pair(n, "an ant", "hello " * 4) for n in range(12)], tmp_path, heldout=0.5)
    assert rows(tmp_path)[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    saved = load_model(tmp_path / "output", device="cpu").model
    before = load_model(tmp_path / "model", device="cpu").model
    assert {name: (w.shape, w.dtype) for name, w in saved.named_parameters()} == {
        name: (w.shape, w.dtype) for name, w in before.named_parameters()
    }
    assert "quantization_config" not in (tmp_path / "output" / "config.json").read_text()
    for name, weight in saved.named_parameters():
        rank = 4 if weight.ndim == 2 and "embed" not in name else 0
        change = (weight - before.get_parameter(name)).detach()
        assert torch.linalg.matrix_rank(change.reshape(len(weight), -1), atol=1e-4) <= rank
        assert bool(change.any()) == (rank > 0), name


def test_the_ratio_to_the_sampler_begins_at_one(tmp_path: Path) -> None:
    """C-24: in 4 bits too the sampler is the trainer."""
    prompts = [
        Prompt(
            id=str(n),
            messages=[{"role": "user", "content": f"the {n}"}],
            verify={"kind": "answer", "answers": ["ant"]},
        )
        for n in range(4)
    ]
    changes = {
        "sampling": {"max_new_tokens": 4},
        "online": {"phases": 1, "prompts_per_phase": 4, "per_prompt": 2},
    }
    fitted(ppo, prompts, tmp_path, "prompts", **changes)
    first = rows(tmp_path)[0]
    assert first["sampler_ratio"] == pytest.approx(1, abs=1e-3)
    assert first["kl"] == pytest.approx(0, abs=1e-3)


def test_tokens_that_a_template_adds_are_saved_as_they_were_trained_with(tmp_path: Path) -> None:
    fitted(sft, EXAMPLES, tmp_path, chat=None, template="chatml", heldout=0.0)
    saved = load_model(tmp_path / "output", device="cpu")
    assert saved.model.get_input_embeddings().num_embeddings == len(saved.tokenizer)
    assert len(saved.tokenizer) > len(tiny.tokenizer())


def test_a_reward_model_keeps_its_head(tmp_path: Path) -> None:
    fitted(reward, [pair(n, "an ant", "hello " * 4) for n in range(12)], tmp_path)
    assert ScalarHead.load(tmp_path / "output").linear.weight.any()
    load_model(tmp_path / "output", device="cpu")


def test_scales_are_part_of_what_a_reference_is_kept_under(tmp_path: Path) -> None:
    """Twice the weights have the same 4-bit codes: only their scales differ."""
    model = tiny.model()
    save_model(model, tiny.tokenizer(), tmp_path / "one")
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.mul_(2)
    save_model(model, tiny.tokenizer(), tmp_path / "two")
    one, two = (load_model(tmp_path / n, device="cpu", bits=4).model for n in ("one", "two"))
    codes = [m.model.layers[0].mlp.down_proj.weight.detach() for m in (one, two)]
    assert torch.equal(codes[0], codes[1])
    with_reference(one, [UNITS], 400, tmp_path / "cache")
    with_reference(one, [UNITS], 400, tmp_path / "cache", never)
    with pytest.raises(AssertionError, match="computed again"):
        with_reference(two, [UNITS], 400, tmp_path / "cache", never)


def test_a_folder_of_rounded_weights_is_not_trained(tmp_path: Path) -> None:
    save_model(tiny.model(), tiny.tokenizer(), tmp_path / "whole")
    loaded = load_model(tmp_path / "whole", device="cpu", bits=4)
    save_model(loaded.model, loaded.tokenizer, tmp_path / "model")
    with pytest.raises(InputError, match="its weights are quantised; the model before that"):
        fitted(sft, EXAMPLES, tmp_path, lora=None)
