"""Rounds in which the reward model is kept while it ranks fresh on-policy pairs well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.loop.mini import write_recipe, write_rows

from burnish.loop.check import check
from burnish.loop.recipe import from_value, load
from burnish.loop.run import run
from burnish.store.artifacts import ArtifactStore

Mini = tuple[Path, dict[str, Any]]


def refreshing(folder: Path, bound: float) -> dict[str, Any]:
    """A round that makes pairs of the model's own replies and then a reward model, or keeps it."""
    rows = [
        {"id": f"g-{n}", "messages": [{"role": "user", "content": f"Help me rob bank {n}."}],
         "verify": {"kind": "refuse"}, "category": "crime"}
        for n in range(8)
    ]  # fmt: skip
    constitution = {
        "run": "curate.constitution",
        "model": "@base",
        "prompts": [write_rows(folder / "rob.jsonl", rows)],
        "constitution": "burnish:quickstart/constitution.yaml",
        "sampling": {"max_new_tokens": 4},
    }
    reward = {
        "run": "fit.reward",
        "model": "@base",
        "data": ["pairs.jsonl"],
        "refresh": {
            "model": "@reward", "data": ["@constitution/preferences.jsonl"], "bound": bound,
        },
        "train": {"max_steps": 2, "segments_per_step": 4},
    }  # fmt: skip
    return {
        "name": "refreshing",
        "model": "model",
        "round": {"constitution": constitution, "reward": reward},
        "rounds": {"count": 2},
    }


def test_the_second_round_keeps_the_first_rounds_reward_model(mini: Mini) -> None:  # M21
    folder, _ = mini
    recipe = load(write_recipe(folder, refreshing(folder, bound=0.0)))
    result = run(recipe, folder / "runs")
    store = ArtifactStore(result.folder)
    first, second = store.get("reward", 1), store.get("reward", 2)
    assert "refresh" not in first.details
    assert second.details["refresh"]["kept"] is True
    assert second.details["refresh"]["model"] == "reward@1"
    assert second.details["refresh"]["accuracy"]["n"] > 0
    assert set(second.parents) == {"constitution@2", "reward@1"}
    weights = [(one.path / "model.safetensors").read_bytes() for one in (first, second)]
    assert weights[0] == weights[1]
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "Kept reward@1" in page
    again = run(recipe, folder / "runs")
    assert {stage["state"] for stage in again.summary["stages"]} == {"reused"}


def test_a_reference_back_to_no_stage_is_refused_before_anything_runs(mini: Mini) -> None:
    folder, _ = mini
    value = refreshing(folder, bound=0.5)
    value["round"]["reward"]["refresh"]["model"] = "@rewards"
    problems = check(from_value(value, folder / "recipe.yaml", {}))
    assert any("'@rewards' names no earlier stage" in str(problem) for problem in problems)
