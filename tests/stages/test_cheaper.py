"""A gate for a model that is no worse but cheaper, in whole rounds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests import tiny
from tests.loop.mini import write_recipe
from tests.stages.measuring import evaluation, prepared

from burnish.config import InputError
from burnish.loop.recipe import load
from burnish.loop.run import RunResult, run
from burnish.models.load import save_model
from burnish.store.manifest import folder_size
from burnish.store.registry import Registry
from burnish.tracing.card import model_card
from burnish.tracing.models import trace

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared(tmp_path_factory.mktemp("measure"))


def cheaper(place: Path, name: str, beside: str | None, **policy: Any) -> RunResult:
    """A round whose candidate has one layer of two, on items that neither model gets right."""
    save_model(tiny.model(num_hidden_layers=1), tiny.tokenizer(), place / "small")
    timed = {"prompt_tokens": 4, "new_tokens": 2, "repeats": 2, "warmup": 0, "beside": beside}
    value = {
        "name": name,
        "model": "one",
        "prepare": {"start": {"run": "fit.sft", "model": "@base", "data": ["sft.jsonl"],
                              "heldout": 0, "train": {"max_steps": 1}},
                    "student": {"run": "fit.sft", "model": "small", "data": ["sft.jsonl"],
                                "heldout": 0, "train": {"max_steps": 1}}},
        "round": {
            "before": evaluation("@champion"),
            "after": evaluation("@student", efficiency=timed),
            "gate": {"run": "measure.gate", "before": "@before", "after": "@after",
                     "policy": {"guards": {"capitals": 0.6}, "max_same": 1, **policy}},
            "promote": {"run": "release.promote", "verdict": "@gate", "model": "@student"},
        },
        "rounds": {"count": 1, "champion": "@start"},
    }  # fmt: skip
    return run(load(write_recipe(place, value)), place / "runs")


def test_a_smaller_model_that_is_no_worse_is_promoted(place: Path) -> None:
    made = cheaper(place, "smaller", "@champion", cheaper={"size_bytes": 1.05})
    gate = made.artifact("gate")
    (saved,) = gate.details["saved"]
    sizes = [folder_size(made.artifact(name).path) for name in ("start", "student")]
    assert saved["factor"] == sizes[0] / sizes[1]
    assert gate.figures["gain"].value == pytest.approx(math.log(saved["factor"]))
    assert made.promoted
    turns = json.loads((made.artifact("after").path / "beside.json").read_text())
    assert turns["beside"] == "start@1"
    assert len(turns["before"]["decode_tokens_per_second"]) == 2
    assert "Size on disk" in (made.folder / "report.html").read_text(encoding="utf-8")
    with Registry(made.folder.parent / "registry.sqlite") as registry:
        assert registry.alias("champion") == "student@1"
        assert "size_bytes improved ×" in model_card(trace(registry, "student@1"))


def test_a_gate_for_something_cheaper_needs_both_models_timed_together(place: Path) -> None:
    for beside, said in ((None, "beside no other model"), ("two", "beside two")):
        with pytest.raises(InputError, match=f"{said}.*the model of before@1, start@1"):
            cheaper(place, f"alone-{beside}", beside, cheaper={"decode_tokens_per_second": 1.1})
    with pytest.raises(InputError, match="peak_memory_bytes is that of the whole process"):
        cheaper(place, "memory", "@champion", cheaper={"peak_memory_bytes": 1.1})
