"""Recipes: what is refused before anything runs, and where the message points."""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from tests.loop.frontier import given
from tests.loop.mini import write_recipe, write_rows

from burnish import recipes
from burnish.config import InputError
from burnish.loop.check import check
from burnish.loop.plan import plan
from burnish.loop.recipe import load

Mini = tuple[Path, dict[str, Any]]


def problems_of(folder: Path, value: dict[str, Any]) -> str:
    path = write_recipe(folder, value)
    try:
        found = check(load(path))
    except InputError as error:
        found = list(error.problems)
    return "\n".join(str(problem) for problem in found)


@pytest.mark.parametrize(
    ("place", "new", "said"),
    [
        (("prepare", "sft", "epochz"), 3, "prepare.sft.epochz: unknown key"),
        (("prepare", "sft", "train"), {"epochs": "two"}, "prepare.sft.train.epochs: found 'two'"),
        (("prepare", "sft", "run"), "fit.stf", "prepare.sft.run: unknown stage 'fit.stf'"),
        (("prepare", "sft", "data"), ["nothing.jsonl"], "no such file: nothing.jsonl"),
        (("prepare", "sft", "model"), "@pretrian", "'@pretrian' names no earlier stage"),
        (("model",), "no-such-model", "model: no-such-model: no such model folder"),
        (("figures", "x"), "nowhere", "figures.x: found 'nowhere'"),
        (("rounds", "champion"), "@nobody", "@nobody names no stage of prepare"),
    ],
)
def test_mistakes_are_named_with_file_line_and_field(
    mini: Mini, place: tuple[str, ...], new: Any, said: str
) -> None:
    folder, value = mini
    changed = copy.deepcopy(value)
    target: Any = changed
    for part in place[:-1]:
        target = target[part]
    target[place[-1]] = new
    found = problems_of(folder, changed)
    assert said in found
    assert "recipe.yaml:" in found


def test_all_problems_are_reported_together(mini: Mini) -> None:
    folder, value = mini
    changed = copy.deepcopy(value)
    changed["prepare"]["sft"]["epochz"] = 3
    changed["round"]["dpo"]["beta"] = -1
    found = problems_of(folder, changed)
    assert "prepare.sft.epochz" in found
    assert "round.dpo.beta" in found


def test_what_an_engine_extra_needs_is_known_before_training(mini: Mini) -> None:
    folder, value = mini
    changed = copy.deepcopy(value)
    changed["prepare"]["sft"]["train"] = {"extras": {"trackers": ["nonsense"]}}
    found = problems_of(folder, changed)
    assert "recipe.yaml:" in found
    assert "prepare.sft.train.extras.trackers: there is no tracker 'nonsense'" in found


def test_whether_weights_can_be_held_in_4_bits_is_known_before_training(
    mini: Mini, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, value = mini
    changed = copy.deepcopy(value)
    changed["round"]["dpo"]["lora"] = {"bits": 4}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: "found")
    assert problems_of(folder, changed) == ""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    found = problems_of(folder, {**changed, "device": "mps"})
    assert "recipe.yaml:" in found
    assert "round.dpo.lora.bits: 4-bit weights need a package that is not installed; pip" in found
    assert "round.dpo.lora.bits: no 4-bit weights on device 'mps'; one of cuda, cpu" in found
    changed["round"]["dpo"]["lora"] = {"bits": 8}
    assert "round.dpo.lora.bits: found 8" in problems_of(folder, changed)


def test_noise_does_not_go_with_replies_of_the_policy(mini: Mini) -> None:
    folder, value = mini
    changed = copy.deepcopy(value)
    changed["round"]["ppo"] = {
        "run": "fit.ppo", "model": "@champion", "prompts": ["x.jsonl"],
        "train": {"extras": {"neftune": 5}},
    }  # fmt: skip
    assert "round.ppo: " in (found := problems_of(folder, changed))
    assert "neftune must be 0" in found


def test_a_bad_row_in_a_data_file_is_found_before_training(mini: Mini) -> None:
    folder, value = mini
    changed = copy.deepcopy(value)
    write_rows(folder / "bad.jsonl", [{"messages": [{"role": "user"}]}])
    changed["prepare"]["sft"]["data"] = ["bad.jsonl"]
    found = problems_of(folder, changed)
    assert "bad.jsonl:1:" in found
    assert "content" in found


def test_set_overrides_before_validation(mini: Mini) -> None:
    folder, value = mini
    path = write_recipe(folder, value)
    recipe = load(path, ["seed=3", "prepare.sft.train.epochs=2"])
    assert recipe.name == "mini-seed3"
    assert recipe.prepare[1].config.train.epochs == 2  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="no '='"):
        load(path, ["seed"])


def test_the_resolved_recipe_reads_back_to_itself(mini: Mini, tmp_path: Path) -> None:
    folder, value = mini
    recipe = load(write_recipe(folder, value))
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(recipe.to_yaml(), encoding="utf-8")
    assert load(resolved).source == recipe.source


@pytest.mark.parametrize("name", recipes.names())
def test_every_shipped_recipe_parses_and_plans(name: str) -> None:
    recipe = load(recipes.resolve(name), given() if name == "frontier" else [])
    rows = plan(recipe)
    assert [row.name for row in rows] == [call.name for call in recipe.stages()]
    assert all(row.makes for row in rows)
