"""The recipe ``frontier``: the seed's numbers, what it asks for, and a whole small run of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.loop.frontier import SMALL, given, pyramid

from burnish import recipes
from burnish.config import InputError
from burnish.loop.check import check
from burnish.loop.recipe import Recipe, from_value, load
from burnish.loop.run import run

FIVE = ["post_pretraining", "instruction_tuning", "preference_optimization",
        "safety_alignment", "capability_enhancement"]  # fmt: skip


@pytest.fixture(scope="module")
def frontier() -> Recipe:
    return load(recipes.resolve("frontier"), given())


def config(recipe: Recipe, name: str) -> Any:
    return next(call.config for call in recipe.stages() if call.name == name)


def test_its_defaults_are_the_seed_s_numbers(frontier: Recipe) -> None:
    assert [c.name for c in frontier.stages() if c.name in FIVE] == FIVE
    pretrain = config(frontier, "post_pretraining")
    assert (pretrain.ratio, pretrain.passes, pretrain.train.epochs) == (5, 1, 1)
    made = config(frontier, "generate")
    assert [(c.temperature, c.top_p) for c in made.candidates] == [(0.3, 0.9), (0.7, 0.9), (1, 0.9)]
    assert made.scoring.weights == {"relevance": 0.4, "completeness": 0.3, "fluency": 0.3}
    assert (made.filters.min_reward, made.filters.keep_top) == (0.8, 0.2)
    # 10,000 to 100,000 samples a round.
    assert 10_000 <= (made.limit + made.instruction_count) * len(made.candidates) <= 100_000
    mix = config(frontier, "pyramid").mix
    assert mix.tiers == {"expert": 0.05, "selected": 0.25, "bulk": 0.7}
    assert mix.synthetic == (0.7, 0.8)
    rounds = frontier.header.rounds
    assert (rounds.count, rounds.patience, rounds.min_gain) == (6, 2, 0.01)
    # M8: the gate bounds drift from every earlier version. M22: efficiency is measured.
    assert config(frontier, "gate").policy.guards["drift"] == 0.2
    assert config(frontier, "probe").last == "@probe"
    assert config(frontier, "evaluate").efficiency == config(frontier, "evaluate_before").efficiency
    assert config(frontier, "evaluate").efficiency is not None
    assert check(frontier) == []


def test_what_is_missing_is_asked_for() -> None:
    with pytest.raises(InputError) as caught:
        load(recipes.resolve("frontier"), ["inputs.model=burnish-tiny"])
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == 10
    assert any(
        "frontier.yaml:" in line and "inputs.domain: not given; text of your domain" in line
        and "--set inputs.domain=..." in line for line in said
    )  # fmt: skip


def test_inputs_stand_where_they_are_named() -> None:
    value = {
        "name": "x", "model": "$model",
        "inputs": {"model": "burnish-tiny", "data": ["a.jsonl", "b.jsonl"], "extra": []},
        "prepare": {"sft": {"run": "fit.sft", "model": "@base", "data": ["first.jsonl", "$data"],
                            "replay": ["$extra"], "anchor": "$extra"}},
    }  # fmt: skip
    recipe = from_value(value, Path("x.yaml"), {})
    assert recipe.header.model == "burnish-tiny"
    made = config(recipe, "sft")
    assert made.data == ["first.jsonl", "a.jsonl", "b.jsonl"]
    assert (made.replay, made.anchor) == ([], None)
    wrong = {**value, "prepare": {"sft": {"run": "fit.sft", "model": "$modle", "data": []}}}
    with pytest.raises(InputError, match=r"inputs\.modle: no such input; expected one of model"):
        from_value(wrong, Path("x.yaml"), {})


@pytest.mark.slow
def test_a_small_run_from_end_to_end(tmp_path: Path) -> None:
    overrides = [*given(instructions=pyramid(tmp_path)), *SMALL]
    result = run(load(recipes.resolve("frontier"), overrides), tmp_path / "runs")
    assert {stage["state"] for stage in result.summary["stages"]} == {"done"}
    shares = result.artifact("pyramid").figures
    assert [shares[f"share_{tier}"].value for tier in ("expert", "selected", "bulk")] == [
        0.05, 0.25, 0.7,
    ]  # fmt: skip
    assert 0.7 <= shares["share_synthetic"].value <= 0.8
    assert result.summary["verdicts"][0]["decision"] in ("kept", "undecided", "promoted")
    figures = result.summary["figures"]
    assert figures["general_ppl_ratio"] > 0
    # Every version is in the probe, and the gate held the candidate to the one before it.
    assert result.artifact("probe").details["versions"] == [
        "instruction_tuning@1", "capability_enhancement@1",
    ]  # fmt: skip
    guards = {row["metric"]: row for row in result.artifact("gate").details["comparisons"]}
    assert guards["drift"]["comparison"]["difference"] == pytest.approx(-figures["drift"])
    assert figures["decode_tokens_per_second"] > 0
