"""The loop end to end on the mini recipe: what it makes, resumes, refuses and survives."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tests.loop.mini import write_recipe
from tests.loop.rounds import SURE, one_fit

from burnish.config import InputError
from burnish.loop.recipe import Recipe, load
from burnish.loop.run import RunResult, run
from burnish.store.artifacts import ArtifactStore
from burnish.store.registry import Registry
from burnish.tracing.models import trace

Mini = tuple[Path, dict[str, Any]]


@pytest.fixture(scope="module")
def finished(mini: Mini) -> tuple[Recipe, RunResult]:
    folder, value = mini
    recipe = load(write_recipe(folder, value))
    return recipe, run(recipe, folder / "runs")


def test_every_stage_leaves_an_artifact_and_the_summary_tells(
    finished: tuple[Recipe, RunResult],
) -> None:
    recipe, result = finished
    names = [stage["name"] for stage in result.summary["stages"]]
    assert names == [call.name for call in recipe.stages()]
    assert {stage["state"] for stage in result.summary["stages"]} == {"done"}
    assert result.summary["status"] == "done"
    for name in ("capitals", "capitals_before", "reward_accuracy"):
        assert {name, f"{name}_low", f"{name}_high"} <= result.summary["figures"].keys()
    assert (result.folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html")
    assert "zh" in (result.folder / "report.zh.html").read_text(encoding="utf-8")[:200]
    assert (result.folder / "recipe.yaml").exists()
    assert not list((result.folder / "scratch").glob("*"))
    rows = (result.folder / "metrics.jsonl").read_text().splitlines()
    assert {json.loads(row)["stage"] for row in rows} == {
        "pretrain", "sft", "reward", "dpo", "ppo", "safety",
    }  # fmt: skip


def test_a_verdict_has_its_statistics_and_stands_in_the_registry(
    finished: tuple[Recipe, RunResult],
) -> None:
    _, result = finished
    verdict = result.summary["verdicts"][0]
    assert verdict["round"] == 1
    assert verdict["decision"] in {"promoted", "kept", "undecided"}
    assert 0 <= verdict["p_values"]["target"] <= 1
    with Registry(result.folder.parent / "registry.sqlite") as registry:
        assert registry.verdicts()[0].decision == verdict["decision"]
        candidate = registry.get("safety@1")
        parents = {entry.name for entry in registry.lineage(candidate.name, candidate.version)}
    assert {"constitution", "ppo", "dpo", "reward", "sft", "pretrain"} <= parents


def test_a_second_run_takes_everything_and_changes_nothing(
    finished: tuple[Recipe, RunResult],
) -> None:
    recipe, result = finished
    before = {a.ref: a.fingerprint for a in ArtifactStore(result.folder).list()}
    again = run(recipe, result.folder.parent)
    assert {stage["state"] for stage in again.summary["stages"]} == {"reused"}
    assert {a.ref: a.fingerprint for a in ArtifactStore(result.folder).list()} == before
    assert again.summary["figures"] == result.summary["figures"]


def test_a_changed_setting_is_named_and_rerun_makes_it_and_what_follows(
    mini: Mini, finished: tuple[Recipe, RunResult]
) -> None:
    folder, value = mini
    _, result = finished
    changed = copy.deepcopy(value)
    changed["round"]["dpo"]["beta"] = 0.5
    recipe = load(write_recipe(folder, changed))
    with pytest.raises(InputError) as caught:
        run(recipe, result.folder.parent)
    said = str(caught.value)
    assert "round.dpo" in said
    assert "beta: 0.1 → 0.5" in said
    assert "--rerun dpo" in said
    kept = run(recipe, result.folder.parent, keep=True)
    assert {stage["state"] for stage in kept.summary["stages"]} == {"reused"}
    again = run(recipe, result.folder.parent, rerun={"dpo"})
    states = {stage["name"]: stage["state"] for stage in again.summary["stages"]}
    assert states["sft"] == states["generate"] == states["reward"] == "reused"
    assert states["dpo"] == states["ppo"] == states["safety"] == "done"


def test_the_same_recipe_and_seed_give_the_same_weights(
    mini: Mini, finished: tuple[Recipe, RunResult], tmp_path: Path
) -> None:
    # R-30, within one process: two runs from the same recipe are equal to the last bit.
    folder, value = mini
    recipe = load(write_recipe(folder, value))
    again = run(recipe, tmp_path)
    first = ArtifactStore(finished[1].folder).get("safety", 1)
    second = ArtifactStore(again.folder).get("safety", 1)
    weights = [(a.path / "model.safetensors").read_bytes() for a in (first, second)]
    assert weights[0] == weights[1]


def test_rounds_may_begin_with_the_base_model_itself(mini: Mini, tmp_path: Path) -> None:
    # The base lies beside the recipe, outside the run: it is no artifact that could be a parent.
    folder, value = mini
    fit = {"run": "fit.sft", "data": ["sft.jsonl"], "train": SURE}
    based = one_fit(value, "based", fit, count=1)
    based["rounds"]["champion"] = "@base"
    del based["prepare"]
    based["round"]["probe"] = {
        "run": "measure.probe", "model": "@fit", "champion": "@champion", "last": "@probe",
        "probes": ["prompts.jsonl"], "max_new_tokens": 4,
    }  # fmt: skip
    result = run(load(write_recipe(folder, based)), tmp_path)
    assert result.summary["champion"] == "fit@1"
    assert (
        result.summary["figures"]["capitals_after"] > result.summary["figures"]["capitals_before"]
    )
    fitted = result.artifact("fit")
    assert (fitted.parents, fitted.inputs["model"].ref) == ((), "@base")
    assert result.artifact("probe").details["versions"] == ["model", "fit@1"]
    with Registry(tmp_path / "registry.sqlite") as registry:
        given = trace(registry, "champion").given
    assert ("fit@1", "model", "@base") in {(one.step, one.field, one.ref) for one in given}


def test_a_round_that_fails_is_recorded_and_the_champion_stays(mini: Mini, tmp_path: Path) -> None:
    folder, value = mini
    broken = copy.deepcopy(value)
    broken["rounds"]["count"] = 3
    # A learning rate this high makes the loss infinite, which the engine stops at.
    broken["round"]["dpo"]["train"] = {"learning_rate": 1e30, "max_steps": 8, "epochs": 4}
    recipe = load(write_recipe(folder, broken))
    result = run(recipe, tmp_path)
    verdicts = result.summary["verdicts"]
    assert [verdict["decision"] for verdict in verdicts] == ["failed", "failed"]
    assert verdicts[0]["reason"].startswith("dpo: ")
    assert "2 failed rounds in a row" in verdicts[1]["stopped"]
    assert result.summary["champion"] == "sft@1"
    failed = [stage for stage in result.summary["stages"] if stage["state"] == "failed"]
    assert [stage["name"] for stage in failed] == ["dpo", "dpo"]
    assert (result.folder / "failure-dpo-1.txt").exists()
