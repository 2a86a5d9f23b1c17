"""What the fit stages share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests import tiny

from burnish.engine import SilentProgress
from burnish.models.adapters import LoraSettings
from burnish.models.save import save_model
from burnish.stages import training
from burnish.stages.base import Context, Inputs


@pytest.mark.parametrize(("seeds", "same"), [((3, 3), True), ((3, 4), False)])
def test_a_fresh_adapter_is_set_by_the_stages_seed(
    seeds: tuple[int, int], same: bool, tmp_path: Path
) -> None:
    # also in several processes, each of which draws its own.
    save_model(tiny.model(), tiny.tokenizer(), tmp_path / "model")
    inputs = Inputs({"model": [str(tmp_path / "model")]})
    drawn = []
    for seed in seeds:
        torch.rand(seed + len(drawn))
        context = Context(
            "sft", 0, seed, tmp_path, tmp_path, tmp_path, tmp_path, SilentProgress(), "cpu"
        )
        found = training.load_policy(inputs, context, LoraSettings(r=2)).model
        drawn += [weight for name, weight in found.named_parameters() if "lora_A" in name][:1]
    assert drawn[0].abs().sum() > 0
    assert torch.equal(*drawn) == same
