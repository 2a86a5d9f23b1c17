"""What goes wrong in optimisation ends in clear words, with the last good weights kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import load_file
from tests import tiny
from tests.stages.fits import context

from burnish.config import InputError
from burnish.engine import StepInfo, TrainSettings
from burnish.models.load import save_model
from burnish.records import Prompt, Rollout
from burnish.rollouts import OnlineSettings
from burnish.sampling import Sampling
from burnish.stages import policy
from burnish.stages.base import Inputs
from burnish.stages.fit import grpo, online_dpo, ppo
from burnish.stages.policy import KlBound
from burnish.store import checkpoints, tables

ONE_WORD = {"kind": "format", "rules": [{"rule": "max_words", "n": 1}]}


def fit(folder: Path, stage: Any, rewards: Any, **changes: Any) -> Any:
    save_model(tiny.model(initializer_range=0.05), tiny.tokenizer(), folder / "model")
    prompts = [Prompt(id=f"p{n}", messages=[{"role": "user", "content": "a" * n}], verify=ONE_WORD)
               for n in range(4)]  # fmt: skip
    tables.write(folder / "prompts.jsonl", prompts)
    config = stage.Config(
        **{
            "model": "m", "prompts": ["p"], "sampling": Sampling(max_new_tokens=6),
            "online": OnlineSettings(phases=3, prompts_per_phase=4, per_prompt=2),
            "train": TrainSettings(learning_rate=0.01, schedule="constant", segments_per_step=8,
                                   tokens_per_batch=400, weight_decay=0.0, save_steps=1),
            **changes,
        }
    )  # fmt: skip
    inputs = {"model": [str(folder / "model")], "prompts": [str(folder / "prompts.jsonl")]}
    with mock.patch.object(policy, "reward_function", return_value=rewards):
        outcome = stage.run(config, Inputs(inputs), context(folder))
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    before, after = (load_file(folder / name / "model.safetensors") for name in ("model", "output"))
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    return outcome, rows, moved


def equal(rollouts: list[Rollout]) -> list[float]:
    return [0.25] * len(rollouts)


@pytest.mark.parametrize("stage", [ppo, grpo, online_dpo])
def test_constant_rewards_are_said_to_teach_nothing(stage: Any, tmp_path: Path) -> None:
    none = {"credit": {"kl_coef": 0.0}} if stage is ppo else {}
    none |= {"kl_coef": 0.0} if stage is grpo else {}
    outcome, rows, moved = fit(tmp_path, stage, equal, **none)
    assert outcome.details["alarms"][0] == {
        "kind": "constant", "phase": 1, "value": 0.25, "limit": 0.0,
    }  # fmt: skip
    assert all(math.isfinite(value) for row in rows for value in row.values()
               if isinstance(value, float))  # fmt: skip
    # Replies that are all alike in reward have no advantage over each other (C-23).
    assert (moved == []) == (stage is not ppo)


def test_a_reward_that_is_no_number_ends_the_fit_and_keeps_the_last_checkpoint(
    tmp_path: Path,
) -> None:
    calls = 0

    def rewards(rollouts: list[Rollout]) -> list[float]:
        nonlocal calls
        calls += 1
        found = [float(len(one.completion)) for one in rollouts]
        return found if calls < 3 else [*found[:-1], math.nan]

    with pytest.raises(InputError, match=r"the reward of a reply to prompt p\d is nan"):
        fit(tmp_path, grpo, rewards)
    kept = checkpoints.newest(tmp_path / "scratch")
    assert kept is not None
    assert kept.state["progress"]["step"] == 2
    assert all(bool(torch.isfinite(value).all()) for value in kept.tensors("weights").values())


def lengths(rollouts: list[Rollout]) -> list[float]:
    return [float(len(one.completion)) for one in rollouts]


def test_a_divergence_past_the_bound_goes_back_to_the_last_good_weights(tmp_path: Path) -> None:
    outcome, rows, moved = fit(tmp_path, ppo, lengths, max_kl=1e-4, credit={"kl_coef": 0.0})
    assert outcome.details["stopped"] == "rollback"
    last = outcome.details["alarms"][-1]
    assert last["kind"] == "max_kl"
    assert (last["value"], last["limit"]) == (rows[-1]["kl"], 1e-4)
    assert moved  # the weights after the first phase's step, not those of the start
    assert len(rows) < 4


def test_a_divergence_that_is_no_number_is_past_the_bound() -> None:
    info = StepInfo(1, 2, {"phase_step": 1, "kl": math.nan}, 0)
    assert KlBound(5.0)(info) == "rollback"
    assert KlBound(5.0)(StepInfo(1, 2, {"phase_step": 1, "kl": 5.0}, 0)) == "mark"
    assert KlBound(5.0, marks=False)(StepInfo(1, 2, {"phase_step": 1, "kl": 5.0}, 0)) is None


def test_a_budget_that_cannot_be_met_is_said_so(tmp_path: Path) -> None:
    bound = {"cost": "verifier", "budget": -1.0, "learning_rate": 5.0, "initial": 1.0,
             "maximum": 2.0, "update": "plain"}  # fmt: skip
    outcome, rows, _ = fit(tmp_path, grpo, lengths, constraint=bound, max_kl=1000.0)
    (alarm,) = [one for one in outcome.details["alarms"] if one["kind"] == "budget"]
    assert (alarm["phase"], alarm["limit"]) == (2, -1.0)
    assert rows[1]["lambda"] == 2.0


def test_alarms_end_a_fit_where_the_recipe_asks(tmp_path: Path) -> None:
    outcome, rows, _ = fit(tmp_path, grpo, equal, watch={"alarms": {"stop": True}})
    assert outcome.details["stopped"] == "stop"
    assert len(rows) == 1
