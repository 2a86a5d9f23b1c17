"""The Python API: ``burnish.run`` and the seed's four names, on the mini data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests import tiny
from tests.loop.mini import recipe_value, write_recipe

import burnish
from burnish.config import InputError
from burnish.models.load import load_model, save_model
from burnish.records import Figure, Rollout
from burnish.store import tables

REPLIES = {"max_new_tokens": 4}
SHORT = {"max_steps": 2, "segments_per_step": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("api")
    value = recipe_value(place)
    value["round"] = {}
    value["figures"] = {}
    write_recipe(place, value)
    return place


def test_importing_burnish_is_light_and_lists_the_api() -> None:
    code = "import burnish, sys; print('torch' in sys.modules, *burnish.__all__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, *names = said.stdout.split()
    assert loaded == "False"
    assert {"run", "PostTrainingDataPipeline", "IterativePostTraining"} <= set(names)
    with pytest.raises(AttributeError, match="nothing_here"):
        burnish.nothing_here  # noqa: B018


def test_run_takes_a_recipe_and_overrides(folder: Path) -> None:
    result = burnish.run(
        folder / "recipe.yaml", runs=folder / "runs", overrides=["prepare.sft.train.max_steps=1"]
    )
    assert result.promoted
    assert result.artifact("sft").figures["steps"].value == 1


def test_the_five_stages_follow_one_another(folder: Path) -> None:
    face = burnish.FrontierModelPostTraining(str(folder / "model"), folder / "runs", "five")
    short = {"train": SHORT}
    data = {name: [str(folder / f"{name}.jsonl")] for name in ("docs", "sft", "pairs", "prompts")}
    face.post_pretraining(data["docs"], ratio=0, train={"max_steps": 1})
    tuned = face.instruction_tuning(data["sft"], **short)
    face.preference_optimization(data["pairs"], **short)
    online = {"phases": 1, "prompts_per_phase": 2, "per_prompt": 2}
    made = face.capability_enhancement(
        data["prompts"], sampling=REPLIES, online=online, train={"segments_per_step": 4}
    )
    assert face.model == str(made.folder)
    assert made.folder != tuned.folder
    assert load_model(made.folder).model.config.hidden_size == 32


def test_the_pipeline_makes_candidates_and_pairs(folder: Path) -> None:
    pipeline = burnish.PostTrainingDataPipeline(str(folder / "model"), folder / "runs", "data")
    made = pipeline.generate(
        [str(folder / "prompts.jsonl")], limit=3, real=[str(folder / "sft.jsonl")],
        candidates=[REPLIES, {**REPLIES, "temperature": 0.5}],
    )  # fmt: skip
    rollouts = tables.read(made.folder / "rollouts.jsonl", Rollout)
    assert len(rollouts) == 6
    assert {rollout.temperature for rollout in rollouts} == {1.0, 0.5}
    assert next(step["name"] for step in made.details["funnel"]) == "finished"


def test_the_evaluator_compares_any_number_of_models(folder: Path) -> None:
    save_model(tiny.model(1), tiny.tokenizer(), folder / "other")
    tasks = [{"name": "capitals", "data": str(folder / "eval.jsonl")}]
    evaluator = burnish.PostTrainingEvaluator(tasks, folder / "runs")
    model, other = str(folder / "model"), str(folder / "other")
    found = evaluator.compare(model, other, model)
    names = [f"{model} (1)", other, f"{model} (2)"]
    assert found.details["models"] == names
    rows = {row["model"]: row for row in found.details["rows"]}
    assert list(rows) == names[1:]
    assert rows[names[2]]["state"] == "noise"
    assert rows[names[2]]["comparison"]["difference"] == 0
    assert rows[other]["comparison"]["n"] == 40
    assert (found.folder / "comparison.zh.html").is_file()
    # Each model once more, by itself: the same figures.
    assert evaluator.evaluate(other, "alone") == {
        name: Figure(**figure) for name, figure in found.details["figures"][other].items()
    }
    with pytest.raises(InputError, match="two models or more"):
        evaluator.compare(model)
