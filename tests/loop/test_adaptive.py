"""Rounds in which weak topics of the last evaluation get more instructions."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.loop.mini import write_recipe, write_rows
from tests.serving import said, serving

from burnish.loop.check import check
from burnish.loop.recipe import from_value, load
from burnish.loop.run import run
from burnish.store.artifacts import ArtifactStore

Mini = tuple[Path, dict[str, Any]]
TOPICS = "topics:\n- {id: cities, en: [cities]}\n- {id: rivers, en: [rivers]}\n"


def adaptive(folder: Path, ref: str) -> dict[str, Any]:
    """A round that generates and then evaluates, with a model that always says Lima."""
    (folder / "topics.yaml").write_text(TOPICS)
    items = [
        {
            "id": f"{topic}-{n}",
            "messages": [{"role": "user", "content": f"{n}: {topic}?"}],
            "verify": {"kind": "answer", "answers": [answer]},
            "topic": topic,
        }
        for topic, answer in (("cities", "Lima"), ("rivers", "Nile"))
        for n in range(4)
    ]
    write_rows(folder / "items.jsonl", items)
    generate = {
        "run": "curate.generate",
        "model": ref,
        "instructions": ["topics.yaml"],
        "instruction_count": 8,
        "adapt_to": "@evaluate",
        "candidates": [{"max_new_tokens": 4}],
        "scoring": {"weights": {"completeness": 1.0}},
    }
    evaluate = {
        "run": "measure.evaluate",
        "model": ref,
        "tasks": [{"name": "quiz", "data": "items.jsonl"}],
    }
    return {
        "name": "adaptive",
        "model": "model",
        "round": {"generate": generate, "evaluate": evaluate},
        "rounds": {"count": 2},
    }


def test_the_second_round_has_more_of_what_the_first_was_weak_in(
    mini: Mini, tmp_path: Path
) -> None:
    folder, _ = mini
    with serving(lambda handler, body: handler.give(said("Lima"))) as server:
        recipe = load(write_recipe(folder, adaptive(folder, server.ref)))
        run(recipe, tmp_path)
        again = run(recipe, tmp_path)
    assert {stage["state"] for stage in again.summary["stages"]} == {"reused"}
    store = ArtifactStore(tmp_path / "adaptive")
    plans = []
    for version in (1, 2):
        report = json.loads((store.get("generate", version).path / "report.json").read_text())
        plans.append({row["topic"]: (row["count"], row["score"]) for row in report["plan"]})
        assert report["topics"] == {topic: row[0] for topic, row in plans[-1].items()}
    # First nothing is known. Then cities have weakness 0, rivers 1: 8 * (1/4, 3/4).
    assert plans[0] == {"cities": (4, None), "rivers": (4, None)}
    assert {topic: row[0] for topic, row in plans[1].items()} == {"cities": 2, "rivers": 6}
    assert plans[1]["rivers"][1]["value"] == 0.0
    assert store.get("generate", 2).parents == ("evaluate@1",)


def test_only_an_evaluation_may_be_of_the_round_before(mini: Mini) -> None:
    folder, _ = mini
    value = adaptive(folder, "http://127.0.0.1:9/v1#m")

    def found(**changes: Any) -> list[str]:
        changed = copy.deepcopy(value)
        changed["round"]["generate"] |= changes
        problems = check(from_value(changed, folder / "recipe.yaml", {}))
        return [f"{problem.field}: {problem.found}" for problem in problems]

    assert found() == []
    assert found(adapt_to="@nothing") == [
        "round.generate.adapt_to: '@nothing' names no earlier stage"
    ]
    assert found(prompts=["@evaluate"]) == [
        "round.generate.prompts.0: '@evaluate' names no earlier stage"
    ]
