"""C-27: a constraint in whole fits: what is logged, recorded and kept with the artifact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.stages.fits import context, saved_model

from burnish.engine import TrainSettings
from burnish.models.heads import ScalarHead
from burnish.models.load import load_model, save_model
from burnish.records import Prompt
from burnish.rollouts import OnlineSettings
from burnish.sampling import Sampling
from burnish.stages.base import Inputs
from burnish.stages.fit import grpo, online_dpo, ppo
from burnish.store import tables

BOUND = {"cost": "verifier", "budget": 0.25, "learning_rate": 0.4, "initial": 0.5}


def fit(folder: Path, stage: Any, bound: dict[str, Any] | None, **inputs: list[str]) -> Any:
    verify = {"kind": "format", "rules": [{"rule": "max_words", "n": 1}]}
    prompts = [
        Prompt(id=f"p{i}", messages=[{"role": "user", "content": "a" * i}], verify=verify)
        for i in range(4)
    ]
    tables.write(folder / "prompts.jsonl", prompts)
    config = stage.Config(
        model="m",
        prompts=["p"],
        constraint=bound,
        sampling=Sampling(temperature=0.9, max_new_tokens=8),
        online=OnlineSettings(phases=3, prompts_per_phase=4, per_prompt=4),
        train=TrainSettings(segments_per_step=16, tokens_per_batch=400, warmup=0.0),
    )
    given = {"model": [saved_model(folder)], "prompts": [str(folder / "prompts.jsonl")]}
    outcome = stage.run(config, Inputs(given | inputs), context(folder))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return outcome, rows


@pytest.mark.parametrize("stage", [ppo, grpo, online_dpo])
def test_cost_and_lambda_are_logged_and_recorded(stage: Any, tmp_path: Path) -> None:
    outcome, rows = fit(tmp_path, stage, BOUND)
    assert len(rows) == 3
    multiplier = 0.5
    for row in rows:
        assert row["lambda"] == pytest.approx(multiplier, rel=1e-12)
        # A format's score is 1 or -1 here, so that the cost is its complement.
        assert row["cost"] == pytest.approx((1 - row["reward"]) / 2)
        assert row["cost"] > 0.25
        multiplier *= 2.718281828459045 ** (0.4 * multiplier * (row["cost"] - 0.25))
    assert outcome.details["constraint"]["update"] == "scaled"
    assert outcome.details["curve"]["lambda"] == [row["lambda"] for row in rows]
    assert outcome.figures["lambda_after"].value == rows[-1]["lambda"]
    assert outcome.figures["cost_before"].value == rows[0]["cost"]
    assert ("cost_value_loss" in rows[0]) == (stage is ppo)


def test_without_a_constraint_nothing_speaks_of_one(tmp_path: Path) -> None:
    outcome, rows = fit(tmp_path, ppo, None)
    assert not {"cost", "lambda", "cost_value_loss"} & set(rows[0])
    assert "constraint" not in outcome.details
    assert "lambda" not in outcome.details["curve"]
    assert "lambda_after" not in outcome.figures


def test_a_reward_models_head_gives_the_cost(tmp_path: Path) -> None:
    loaded = load_model(saved_model(tmp_path / "plain"), "cpu")
    head = ScalarHead(32, ("helpful", "harmless"), likelihood=1.0)
    folder = str(save_model(loaded.model, loaded.tokenizer, tmp_path / "judge", None, head))
    bound = {"cost": "reward_model", "model": "@judge", "head": "harmless", "budget": 0.5}
    _, rows = fit(tmp_path, grpo, bound, **{"constraint.model": [folder]})
    # Its weights are zero, so that the score is the reply's mean log-probability: a cost above 0.
    assert rows[0]["cost"] > 0.5
    assert rows[1]["lambda"] > rows[0]["lambda"] == 1.0
