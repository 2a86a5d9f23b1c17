"""Alarms: each limit by hand, the actions asked for, the sentences in both languages."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from burnish.engine import StepInfo
from burnish.reporting.alarms import SENTENCES, sentence
from burnish.rollouts import ConstraintSettings
from burnish.stages.alarms import Alarm, Alarms, AlarmSettings, first_of

QUIET = {
    "entropy": 2.0, "length": 10.0, "kl": 0.1, "clip_fraction": 0.1, "explained_variance": 0.4,
    "reward": 0.3, "reward_std": 0.5, "flat": 0.99,
}  # fmt: skip


def rows(*phases: dict[str, float]) -> list[dict[str, float]]:
    return [{**QUIET, "phase": place, "phase_step": 1, **own} for place, own in enumerate(phases)]


def raised(*phases: dict[str, float], **more: Any) -> list[tuple[str, int, float, float]]:
    found = Alarms(AlarmSettings(), **more).found(rows(*phases))
    return [(one.kind, one.phase, one.value, one.limit) for one in found]


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        ([{}, {"entropy": 0.61}], []),
        ([{}, {"entropy": 0.59}, {"entropy": 0.2}], [("entropy", 2, 0.59, 0.6)]),
        ([{}, {"length": 20.0}], []),
        ([{}, {"length": 20.5}], [("longer", 2, 20.5, 20.0)]),
        ([{}, {"length": 4.0}], [("shorter", 2, 4.0, 5.0)]),
        # Below 1 nat a leap is no leap; above it the divergence may not grow fourfold.
        ([{}, {"kl": 3.9}, {"kl": 15.0}], []),
        ([{}, {"kl": 2.0}, {"kl": 8.5}], [("kl", 3, 8.5, 8.0)]),
        ([{}, {"clip_fraction": 0.6}], [("clip_fraction", 2, 0.6, 0.5)]),
        # A critic is new in the first three phases.
        ([{"explained_variance": -1.0}] * 3, []),
        ([{"explained_variance": -1.0}] * 4, [("explained_variance", 4, -1.0, 0.0)]),
        ([{}, {"reward_std": 0.0}], [("constant", 2, 0.3, 0.0)]),
    ],
)
def test_limits(phases: list[dict[str, float]], expected: list[Any]) -> None:
    near = [(kind, at, *map(pytest.approx, numbers)) for kind, at, *numbers in expected]
    assert raised(*phases) == near


def test_a_divergence_that_is_no_number_is_an_alarm() -> None:
    assert [one[:2] for one in raised({}, {"kl": float("nan")})] == [("kl", 2)]


def test_groups_of_equal_rewards_matter_where_replies_are_compared() -> None:
    assert raised({}, compares=True) == [("flat", 1, 0.99, 0.95)]
    assert raised({"reward_std": 0.0, "flat": 1.0}, compares=True)[0][0] == "constant"


def test_a_budget_that_cannot_be_met() -> None:
    bound = ConstraintSettings(cost="refusal", budget=0.2, maximum=5.0)
    under = {"lambda": 4.9, "cost": 0.5}
    assert raised(under, bound=bound) == []
    assert raised(under, {"lambda": 5.0, "cost": 0.1}, bound=bound) == []
    assert raised(under, {"lambda": 5.0, "cost": 0.4}, bound=bound) == [("budget", 2, 0.4, 0.2)]


@pytest.mark.parametrize("stop", [False, True])
def test_it_stops_only_where_asked_to_and_speaks_once(
    stop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    alarms = Alarms(AlarmSettings(stop=stop))
    log = rows({}, {"entropy": 0.1}, {"entropy": 0.1})
    said = [alarms(StepInfo(place + 1, 3, row, 0, log[:place])) for place, row in enumerate(log)]
    assert said == [None, "stop" if stop else None, None]
    assert caplog.text.count("entropy fell to 0.1") == 1


def test_the_gravest_is_done() -> None:
    info = StepInfo(1, 1, {}, 0)
    actions: list[Any] = ["mark", None, "stop", "rollback"]
    for count, expected in ((1, "mark"), (2, "mark"), (3, "stop"), (4, "rollback")):
        asked = [lambda _, action=action: action for action in actions[:count]]
        assert first_of(*asked)(info) == expected
    assert first_of()(info) is None


@pytest.mark.parametrize("kind", SENTENCES)
def test_every_kind_is_said_in_both_languages(kind: str) -> None:
    # A mixture's router is measured by layers, not in phases.
    place = {"layer": 3, "expert": 1}
    alarm = asdict(Alarm(kind, 3, 0.25, 0.5)) | place
    english, chinese = (sentence(alarm, lang) for lang in ("en", "zh"))
    assert english.startswith(("Phase 3: ", "Layer 3: "))
    assert chinese.startswith(("第 3 阶段：", "第 3 层："))
    assert "{" not in english + chinese


def test_an_unknown_kind_is_shown_as_it_is() -> None:
    assert sentence({"kind": "new", "phase": 1}, "zh") == "kind: new, phase: 1"
