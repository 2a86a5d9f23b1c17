"""Rounds in which a model grades its own candidates, and rounds on live feedback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.loop.mini import CITIES, write_recipe, write_rows

from burnish import recipes
from burnish.config import InputError
from burnish.loop.check import check
from burnish.loop.recipe import load
from burnish.loop.run import run
from burnish.records import Preference, Rollout
from burnish.store import tables
from burnish.store.artifacts import ArtifactStore
from burnish.store.registry import Registry

Mini = tuple[Path, dict[str, Any]]
SHORT = {"max_steps": 2, "segments_per_step": 4}


def rounds(mini: Mini, name: str, stages: dict[str, Any], count: int) -> Path:
    """A recipe of the mini one's preparation and these stages, run."""
    folder, value = mini
    recipe = {**value, "name": name, "round": stages, "figures": {},
              "rounds": {"count": count, "champion": "@sft"}}  # fmt: skip
    loaded = load(write_recipe(folder, recipe))
    assert check(loaded) == []
    return run(loaded, folder / "runs").folder


def test_the_policy_grades_its_own_candidates_and_the_champion_is_the_reference(
    mini: Mini,
) -> None:  # C-30
    folder, value = mini
    asked = [{"id": f"t{n}", "messages": [{"role": "user", "content": f"Say {n}."}]}
             for n in range(6)]  # fmt: skip
    prompts = write_rows(folder / "tell.jsonl", asked)
    own = value["round"]
    stages = {
        "before": own["before"],
        "generate": {
            "run": "curate.generate", "model": "@champion", "prompts": [prompts],
            "candidates": [{"max_new_tokens": 8}] * 3,
            "judge": {"model": "@champion", "read": "likelihood"},
            "scoring": {"weights": {"judge": 1.0}},
        },
        "dpo": own["dpo"] | {"data": ["@generate/preferences.jsonl"]},
        "after": own["after"] | {"model": "@dpo"},
        "gate": own["gate"],
        "promote": own["promote"] | {"model": "@dpo"},
    }  # fmt: skip
    made = rounds(mini, "selfish", stages, 2)
    store = ArtifactStore(made)
    summary = json.loads((made / "summary.json").read_text())
    assert [row["decision"] for row in summary["verdicts"]] != []
    for number, champion in ((1, "sft@1"), (2, None)):
        dpo, generated = store.get("dpo", number), store.get("generate", number)
        # The model DPO starts from is its reference: the champion of the round before.
        promoted = summary["verdicts"][0]["decision"] == "promoted"
        expected = champion or ("dpo@1" if promoted else "sft@1")
        assert expected in dpo.parents
        assert expected in generated.parents
        rollouts = tables.read(generated.path / "rollouts.jsonl", Rollout)
        grades = {(one.prompt_id, one.completion): one.scores["judge"] for one in rollouts}
        pairs = tables.read(generated.path / "preferences.jsonl", Preference)
        for pair in pairs:
            better, worse = (
                grades[pair.parents[0], side[0]["content"]] for side in (pair.chosen, pair.rejected)
            )
            assert better > worse
            assert pair.margin == pytest.approx(better - worse)


def test_the_shipped_recipe_is_decided_by_verifiers_and_refers_to_the_champion() -> None:  # C-30
    loaded = load(recipes.resolve("self_rewarding"))
    stages = {call.name: call.config for call in loaded.stages()}
    judge, dpo, generate = stages["generate"].judge, stages["dpo"], stages["generate"]  # type: ignore[attr-defined]
    assert judge.model == dpo.model == generate.model == "@champion"  # type: ignore[attr-defined]
    assert generate.scoring.weights == {"judge": 1.0}  # type: ignore[attr-defined]
    measured = {task.name for task in stages["evaluate"].tasks} | {"general"}  # type: ignore[attr-defined]
    policy = stages["gate"].policy  # type: ignore[attr-defined]
    assert {*policy.target, *policy.guards} <= measured
    assert not any(call.run == "measure.judge" for call in loaded.stages())


def test_a_bad_constitution_is_found_before_anything_runs(mini: Mini) -> None:
    folder, value = mini
    (folder / "bad.yaml").write_text("principles:\n  - {id: a, en: x, zh: y, weight: 0}\n")
    stage = value["round"]["constitution"] | {"model": "@sft", "constitution": "bad.yaml"}
    del stage["reward"]
    loaded = load(write_recipe(folder, {**value, "round": {"c": stage}, "figures": {}}))
    (problem,) = check(loaded)
    assert (problem.line, problem.field) == (2, "principles.0.weight")


def said(country: str, number: int) -> dict[str, Any]:
    question = [{"role": "user", "content": f"{number}. Capital of {country}?"}]
    turns = [[{"role": "assistant", "content": text}] for text in (CITIES[country], "x")]
    record = {"prompt": question, "chosen": turns[0], "rejected": turns[1]}
    return {"kind": "preference", "record": record, "user": f"u{number}", "arm": "a"}


def test_each_round_learns_from_the_feedback_that_came_since(mini: Mini) -> None:
    folder, value = mini
    runs = folder / "runs"
    runs.mkdir(exist_ok=True)
    registry = runs / "registry.sqlite"

    def tell(numbers: range) -> None:
        with Registry(registry) as book:
            for number in numbers:
                for country in CITIES:
                    book.add_feedback(f"{country}{number}", "sft@1", said(country, number))

    tell(range(2))
    stages = {
        "feedback": {"run": "curate.feedback", "last": "@feedback", "least": 5,
                     "replay": [value["round"]["dpo"]["data"][0]]},
        "dpo": value["round"]["dpo"] | {"data": ["@feedback/preferences.jsonl"], "heldout": 0},
    }  # fmt: skip
    # Nobody says anything between the rounds: the second one waits, and the first is kept.
    with pytest.raises(InputError, match="0 new entries of feedback"):
        rounds(mini, "online", stages, 2)
    store = ArtifactStore(runs / "online")
    first = store.get("feedback", 1)
    assert (first.details["new"], first.details["pairs"], first.details["replayed"]) == (10, 10, 10)
    dpo = store.get("dpo", 1)
    assert dpo.details["pairs"] == 20
    tell(range(2, 3))
    again = ArtifactStore(rounds(mini, "online", stages, 2)).get("feedback", 2)
    assert (again.details["new"], again.details["pairs"], again.details["replayed"]) == (5, 5, 5)
