"""fit.reward: calibration error by hand, and heads of several objectives."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.stages.fits import context, saved_model

from burnish.config import InputError
from burnish.engine import TrainSettings
from burnish.evals.calibration import calibration_error
from burnish.evals.ranking import accuracy
from burnish.records import Preference, Prompt, Rollout
from burnish.rewards.reward_model import RewardModel
from burnish.stages import policy
from burnish.stages.base import Inputs
from burnish.stages.fit import reward
from burnish.store import tables


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    # Confidence 0.75 twice, once right: |1.5 - 1| / 2. Confidence 0.9 once, right: |0.9 - 1|.
    three, nine = math.log(3), math.log(9)
    assert calibration_error([three, -three]) == pytest.approx(0.25)
    assert calibration_error([nine]) == pytest.approx(0.1)
    assert calibration_error([three, -three, nine]) == pytest.approx((0.5 + 0.1) / 3)
    assert calibration_error([]) == 0


def test_a_tie_is_not_right() -> None:
    figure = accuracy([1.0, 0.0, -1.0, 2.0])
    assert figure.value == 0.5
    assert figure.n == 4


def said(number: int, reply: str) -> Any:
    return ([{"role": "user", "content": f"the {number}"}], reply)


def record(number: int, **objectives: float) -> Preference:
    """A pair whose chosen reply is "hello" and whose rejected one is "ant"."""
    prompt, _ = said(number, "")
    return Preference(
        id=f"p{number}",
        prompt=prompt,
        chosen=[{"role": "assistant", "content": "hello"}],
        rejected=[{"role": "assistant", "content": "ant"}],
        group=f"g{number}",
        objectives=objectives,
    )


def fitted(folder: Path, records: list[Preference], **settings: Any) -> Any:
    tables.write(folder / "pairs.jsonl", records)
    inputs = Inputs({"model": [saved_model(folder)], "data": [str(folder / "pairs.jsonl")]})
    train = TrainSettings(max_steps=15, learning_rate=3e-3, segments_per_step=8, epochs=9)
    config = reward.Config(model="m", data=["d"], heldout=0.4, train=train, **settings)
    return reward.run(config, inputs, context(folder))


def test_heads_of_two_objectives_may_disagree_about_one_reply(tmp_path: Path) -> None:
    """helpful wants the chosen reply, harmless the rejected one; some pairs speak of one only."""
    both = [record(n, helpful=1.0, harmless=-0.5) for n in range(16)]
    one = [record(n, helpful=1.0) for n in range(16, 24)]
    silent = [record(n, honest=1.0) for n in range(24, 28)]
    outcome = fitted(tmp_path, both + one + silent, objectives=["helpful", "harmless"])
    helpful = outcome.figures["heldout_accuracy.helpful"]
    harmless = outcome.figures["heldout_accuracy.harmless"]
    assert (helpful.value, harmless.value) == (1.0, 1.0)
    assert helpful.n > harmless.n > 0
    assert outcome.details["pairs"] + outcome.details["heldout"] == 24
    about = outcome.details["objectives"]
    assert about["helpful"] + helpful.n == 24
    assert about["harmless"] + harmless.n == 16

    model = RewardModel.load(tmp_path / "output", "cpu")
    replies = [said(90, "hello"), said(90, "ant")]
    good, bad = model.score_each(replies)
    assert good["helpful"] > bad["helpful"]
    assert good["harmless"] < bad["harmless"]
    mean = [(each["helpful"] + each["harmless"]) / 2 for each in (good, bad)]
    assert model.score(replies) == pytest.approx(mean)

    rollouts = [
        Rollout(id=reply, prompt_id="q", prompt=prompt, completion=reply, tokens=[1],
                logprobs=[0.0], finish="stop", temperature=1.0, top_p=1.0, seed=0, scores={})
        for prompt, reply in replies
    ]  # fmt: skip
    asked = [Prompt(id="q", messages=replies[0][0])]
    mix = policy.RewardMix(model=2.0, objectives={"helpful": 0.5, "harmless": 3.0})
    score = policy.reward_function(asked, mix, str(tmp_path / "output"), "cpu")
    expected = [2 * (0.5 * each["helpful"] + 3 * each["harmless"]) for each in (good, bad)]
    assert score(rollouts) == pytest.approx(expected)
    with pytest.raises(InputError, match="no objective 'honest'"):
        RewardModel.load(tmp_path / "output", "cpu", {"honest": 1.0})


def test_without_objectives_the_head_is_the_one_it_was(tmp_path: Path) -> None:
    outcome = fitted(tmp_path, [record(n, helpful=-1.0) for n in range(24)])
    assert outcome.figures["heldout_accuracy"].value == 1.0
    assert not any("." in name for name in outcome.figures)
    model = RewardModel.load(tmp_path / "output", "cpu")
    assert model.head.names == ("score",)
    ((each,), total) = model.score_each([said(1, "hello")]), model.score([said(1, "hello")])
    assert total == [each["score"]]


def test_an_objective_that_no_pair_speaks_of_is_refused(tmp_path: Path) -> None:
    """0 says nothing, as does a name that is not there."""
    records = [record(n, helpful=1.0, harmless=0.0) for n in range(8)]
    with pytest.raises(InputError, match="'harmless'"):
        fitted(tmp_path, records, objectives=["helpful", "harmless"])
    with pytest.raises(ValidationError, match="once"):
        reward.Config(model="m", data=["d"], objectives=["helpful", "helpful"])
