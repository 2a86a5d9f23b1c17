"""The comparison with mergekit describes the same merge to both; it runs by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import merging
from burnish.merging.merge import opened


@pytest.mark.parametrize("method", merging.METHODS)
def test_both_are_asked_for_the_same(method: str) -> None:
    settings = merging.settings_of(method)
    asked = yaml.safe_load(merging.theirs_of(method, ["base", "one", "two"], "float64"))
    assert asked["merge_method"] == settings.method
    assert [model["model"] for model in asked["models"]] == ["one", "two"]
    if method == "slerp":
        assert asked["parameters"]["t"] == pytest.approx(0.4 / 1.1)
        return
    assert [model["parameters"]["weight"] for model in asked["models"]] == settings.weights
    assert asked["parameters"]["normalize"] == settings.divides
    assert ("base_model" in asked) == settings.needs_base


def test_models_are_made_as_burnish_opens_them(tmp_path: Path) -> None:
    shape = {"vocab_size": 4096, "hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1}
    folders = merging.make(tmp_path, shape, torch.float64)
    models, base = opened(folders[1:], folders[0], merging.settings_of("ties"))
    assert base is not None
    name = "model.norm.weight"
    rows = [model.rows(name, 0, 1, torch.float64) for model in (base, *models)]
    assert rows[0].shape == (1, 16)
    assert 0 < (rows[1] - rows[0]).abs().max() < 0.01
    assert not rows[1].equal(rows[2])
