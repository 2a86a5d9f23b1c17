"""S-21 in whole fits: the watch goes back to the best point, or leaves a fit alone."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests import tiny
from tests.stages.fits import context

from burnish.config import InputError, Interrupted
from burnish.engine import StepInfo, TrainSettings
from burnish.evals.resampling import Array
from burnish.models.heads import ScalarHead
from burnish.models.load import save_model
from burnish.records import Prompt, Rollout
from burnish.rollouts import OnlineSettings
from burnish.sampling import Sampling
from burnish.stages import policy
from burnish.stages.base import Inputs
from burnish.stages.fit import ppo
from burnish.stages.policy import KlBound
from burnish.stages.watch import WatchSettings, combined
from burnish.store import tables

EVEN = {"kind": "format", "rules": [{"rule": "max_words", "n": 9}]}


def even(text: str) -> float:
    """The share of even characters: what the proxy rewards."""
    return sum(ord(c) % 2 == 0 for c in text) / max(1, len(text))


def proxy(*_: object) -> Callable[[list[Rollout]], list[float]]:
    return lambda rollouts: [even(one.completion) for one in rollouts]


class Judge:
    """A held-out reward with the given sign of what the proxy rewards."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def score(self, pairs: Sequence[tuple[Any, str]]) -> list[float]:
        return [self.sign * even(reply) for _, reply in pairs]


def prompts(name: str, count: int) -> list[Prompt]:
    return [
        Prompt(id=f"{name}{n}", messages=[{"role": "user", "content": name * (n + 1)}], verify=EVEN)
        for n in range(count)
    ]


def fit(folder: Path, sign: float, action: str = "rollback", phases: int = 4) -> Any:
    folder.mkdir(exist_ok=True)
    model = folder / "model"
    if not model.exists():
        save_model(tiny.model(initializer_range=0.05), tiny.tokenizer(), model)
        tables.write(folder / "prompts.jsonl", prompts("a", 6))
        tables.write(folder / "heldout.jsonl", prompts("b", 40))
    config = ppo.Config(
        model="m", prompts=["p"], max_kl=1000.0, credit={"kl_coef": 0.0}, critic={"rate": 1},
        sampling=Sampling(temperature=0.9, max_new_tokens=8),
        online=OnlineSettings(phases=phases, prompts_per_phase=6, per_prompt=8),
        train=TrainSettings(learning_rate=0.03, schedule="constant", epochs=2,
                            segments_per_step=24, tokens_per_batch=400, warmup=0.0),
        watch={"prompts": ["h"], "verifier": False, "reward": ["j"], "action": action,
               "per_prompt": 2},
    )  # fmt: skip
    files = {"prompts": "prompts", "watch.prompts": "heldout"}
    inputs = {field: [str(folder / f"{file}.jsonl")] for field, file in files.items()}
    if (folder / "output").exists():
        (folder / "output").rmdir()
    with (
        mock.patch.object(policy, "reward_function", proxy),
        mock.patch.object(policy, "judges", return_value={"gold": Judge(sign)}),
    ):
        outcome = ppo.run(config, Inputs({**inputs, "model": [str(model)]}), context(folder))
    return outcome, rows_of(folder, "metrics"), load_file(folder / "output" / "model.safetensors")


def rows_of(folder: Path, log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{log}.jsonl").read_text().splitlines()]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def gamed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("gamed") / "fit"
    return folder, fit(folder, -1.0)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("honest") / "fit"
    return folder, fit(folder, 1.0, phases=2)


def test_where_the_proxy_is_gamed_the_fit_goes_back_to_the_best_point(
    gamed: tuple[Path, Any],
) -> None:
    folder, (outcome, rows, weights) = gamed
    watch = outcome.details["watch"]
    assert watch["over_optimised"]
    assert watch["rolled_back"]
    # The judge likes the opposite, so that the best point is the start: its weights come back.
    assert watch["best_step"] == 0
    assert same(weights, weights_of(folder))
    assert outcome.details["stopped"] == "rollback"
    assert len(rows) < 4 * 4
    looks = watch["looks"]
    assert looks[-1]["proxy"] > looks[0]["proxy"]
    assert looks[-1]["heldout"] < looks[0]["heldout"]
    assert outcome.figures["heldout_best"].value == looks[0]["heldout"]
    assert outcome.figures["heldout_last"].n == 40
    (alarm,) = [one for one in outcome.details["alarms"] if one["kind"] == "over_optimised"]
    assert alarm["phase"] == len(looks) - 1
    assert alarm["value"] == pytest.approx(looks[0]["heldout"] - looks[-1]["heldout"])
    # A look follows the last step of each phase, and its divergence is 0 at the start.
    assert [look["step"] for look in looks] == [4 * n for n in range(len(looks))]
    assert looks[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert looks[-1]["kl"] > 0.05
    assert rows[3]["watch_proxy"] == looks[1]["proxy"]


def test_what_the_policy_says_is_kept_for_those_who_look_on(gamed: tuple[Path, Any]) -> None:
    folder, (_, rows, _) = gamed
    said = rows_of(folder, "samples")
    phases = 1 + int(rows[-1]["phase"])
    assert [one["step"] for one in said] == [phase for phase in range(phases) for _ in range(3)]
    assert {(one["stage"], one["round"]) for one in said} == {("fit", 1)}
    assert all(one["reward"] == pytest.approx(even(one["reply"])) for one in said)
    assert {one["prompt"][0]["content"][0] for one in said} == {"a"}


def test_asked_only_to_report_it_trains_on_and_says_so(tmp_path: Path) -> None:
    outcome, rows, weights = fit(tmp_path / "fit", -1.0, action="report")
    watch = outcome.details["watch"]
    assert watch["over_optimised"]
    assert not watch["rolled_back"]
    assert len(rows) == 16
    assert not same(weights, weights_of(tmp_path / "fit"))
    assert set(watch["gao"]) == {"proxy", "heldout"}


def test_a_reward_that_is_what_it_stands_for_is_left_alone(honest: tuple[Path, Any]) -> None:
    _, (outcome, rows, _) = honest
    assert not outcome.details["watch"]["over_optimised"]
    assert outcome.details["watch"]["best_step"] > 0
    assert outcome.details["stopped"] == "finished"
    assert len(rows) == 8


def test_resumed_it_decides_as_an_unbroken_fit(honest: tuple[Path, Any], tmp_path: Path) -> None:
    # R-07: what the looks saw is part of what an interruption must not lose.
    usual = KlBound.__call__

    def interrupt(self: KlBound, info: StepInfo) -> Any:
        if info.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, info)

    with mock.patch.object(KlBound, "__call__", interrupt), pytest.raises(Interrupted):
        fit(tmp_path / "fit", 1.0, phases=2)
    outcome, _, weights = fit(tmp_path / "fit", 1.0, phases=2)
    kept, (unbroken, _, expected) = honest
    assert outcome.details["watch"] == unbroken.details["watch"]
    assert same(weights, expected)
    assert rows_of(tmp_path / "fit", "samples") == rows_of(kept, "samples")


def test_several_judges_count_alike_in_deviations_of_the_first_look() -> None:
    first = {"proxy": [0.0, 0.0], "kl": [0.0, 0.0], "length": [1.0, 1.0],
             "small": [1.0, 3.0], "large": [100.0, 300.0], "flat": [2.0, 2.0]}  # fmt: skip
    later = first | {"small": [3.0, 5.0], "large": [0.0, 200.0], "flat": [2.0, 5.0]}
    found: list[Array] = combined([first, later])
    np.testing.assert_allclose(found[0], [-2 / 3, 2 / 3])
    # small: +1 and +3 deviations, large: -2 and 0, flat (spread 1 where there is none): 0 and 3.
    np.testing.assert_allclose(found[1], [(1 - 2 + 0) / 3, (3 + 0 + 3) / 3])


def judged(tmp_path: Path, **settings: Any) -> Any:
    config = WatchSettings(prompts=["h"], **settings)
    inputs = {"watch.prompts": [str(tmp_path / "h.jsonl")], "reward": [str(tmp_path / "judge")],
              "watch.reward": [str(tmp_path / "judge")]}  # fmt: skip
    return policy.heldout_prompts(config, Inputs(inputs), prompts("a", 3), 0), Inputs(inputs)


def test_bad_input(tmp_path: Path) -> None:
    cases = [
        (prompts("b", 5), "5 prompts; at least 20"),
        (prompts("b", 30) + prompts("a", 1), "1 are trained on, such as a0"),
        ([Prompt(id=f"b{n}", messages=[{"role": "user", "content": "b"}]) for n in range(20)],
         "20 prompts have no verify"),
    ]  # fmt: skip
    for records, message in cases:
        tables.write(tmp_path / "h.jsonl", records)
        with pytest.raises(InputError, match=message):
            judged(tmp_path)
    head = ScalarHead(32)
    save_model(tiny.model(), tiny.tokenizer(), tmp_path / "judge", None, head)
    tables.write(tmp_path / "h.jsonl", prompts("b", 20))
    settings = WatchSettings(prompts=["h"], reward=["j"])
    _, inputs = judged(tmp_path)
    with pytest.raises(InputError, match="judge is what is trained on"):
        policy.judges(settings, inputs, "cpu")
    with pytest.raises(ValueError, match=r"watch.reward needs watch.prompts"):
        WatchSettings(reward=["j"])
    with pytest.raises(ValueError, match=r"watch.prompts needs a judge"):
        WatchSettings(prompts=["h"], verifier=False)


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with (
        mock.patch.object(Judge, "score", lambda self, pairs: [math.nan] * len(pairs)),
        pytest.raises(InputError, match="watch: gold: a score is not finite"),
    ):
        fit(tmp_path / "fit", 1.0)
