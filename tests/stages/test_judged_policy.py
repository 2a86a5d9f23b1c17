"""A judge as the reward of GRPO and PPO: grades are kept, a missing one is not a 0."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Handler, key_of, last, said, serving
from tests.stages.fits import context, saved_model

from burnish.config import InputError
from burnish.records import Prompt
from burnish.sampling import EndpointSettings
from burnish.stages.base import Inputs
from burnish.stages.fit import grpo, ppo
from burnish.store import tables

QUICK = EndpointSettings(pause=0.001, longest_pause=0.001, attempts=2, concurrency=1)
PROMPTS = [
    Prompt(id=f"p{n}", messages=[{"role": "user", "content": f"Say {n}."}]) for n in range(4)
]


def shown(body: dict[str, Any]) -> str:
    return last(body).split("REPLY = ")[1].splitlines()[0]


def by_length(handler: Handler, body: dict[str, Any]) -> None:
    """No verdict on every third length, else 5 or 1 by whether it is even."""
    length = len(shown(body))
    verdict = json.dumps({"key": key_of(body), "score": 5 if length % 2 == 0 else 1})
    handler.give(said("I would not know." if length % 3 == 0 else verdict))


def silent(handler: Handler, body: dict[str, Any]) -> None:
    handler.give(said("I would not know."))


def fit(folder: Path, stage: Any, ref: str, name: str) -> list[dict[str, Any]]:
    """A fit whose only reward is the judge's; the rows of its metrics."""
    where = folder / name
    where.mkdir()
    tables.write(where / "prompts.jsonl", PROMPTS)
    config = stage.Config.model_validate(
        {
            "model": "m", "prompts": ["p"], "judge": {"model": ref},
            "sampling": {"max_new_tokens": 6},
            "online": {"phases": 2, "prompts_per_phase": 4, "per_prompt": 4},
            "train": {"segments_per_step": 8, "epochs": 1},
        }
    )  # fmt: skip
    inputs = Inputs({
        "model": [saved_model(where)], "prompts": [str(where / "prompts.jsonl")],
        "judge.model": [ref],
    })  # fmt: skip
    place = replace(context(where), endpoint=QUICK, cache=folder / "cache")
    stage.run(config, inputs, place)
    return [json.loads(line) for line in (where / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("stage", [grpo, ppo])
def test_a_judge_is_the_reward_and_its_silence_is_not_a_zero(tmp_path: Path, stage: Any) -> None:
    with serving(by_length) as server:
        rows = fit(tmp_path, stage, server.ref, "one")
        asked = len(server.bodies)
        again = fit(tmp_path, stage, server.ref, "two")
        assert len(server.bodies) == asked  # the run's cache has the grades, missing ones too
    assert 0 < asked <= 32
    first = rows[0]
    assert 0 < first["unrewarded"] < 1
    assert 0 < first["reward"] < 1
    # The mean is that of the graded replies alone: a whole number of fives among those.
    graded = round(16 * (1 - first["unrewarded"]))
    assert first["reward"] * graded == pytest.approx(round(first["reward"] * graded))
    assert [row["reward"] for row in again] == [row["reward"] for row in rows]


def test_a_judge_that_never_grades_ends_the_fit_with_clear_words(tmp_path: Path) -> None:
    with serving(silent) as server, pytest.raises(InputError, match="a judge that can grade"):
        fit(tmp_path, grpo, server.ref, "one")
