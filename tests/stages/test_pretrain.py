"""The forgetting guard's decisions, by hand."""

from __future__ import annotations

import pytest

from burnish.engine import FitResult, StepInfo
from burnish.stages.fit.pretrain import Guard, Watch


@pytest.mark.parametrize(
    ("ratio", "share", "action", "expected"),
    [
        (1.2, 0.1, "rollback", "mark"),
        (1.2, 1.0, "rollback", "mark"),
        (1.5, 0.3, "rollback", None),  # re-warming: within the bound's square, early
        (1.7, 0.3, "rollback", "rollback"),  # past 1.3 ** 2 = 1.69
        (1.5, 0.6, "rollback", "rollback"),
        (1.5, 1.0, "stop", "stop"),
        (9.0, 1.0, "watch", "mark"),
    ],
)
def test_the_guard_acts_by_ratio_and_time(
    ratio: float, share: float, action: str, expected: str | None
) -> None:
    watch = Watch(40.0, Guard(bound=1.3, grace=0.5, action=action))
    info = StepInfo(int(share * 100), 100, {"general_ppl": 40.0 * ratio}, 0)
    assert watch(info) == expected
    assert watch(StepInfo(50, 100, {"loss": 1.0}, 0)) is None


def test_readings_tell_what_was_measured_and_done() -> None:
    watch = Watch(10.0, Guard(bound=1.3, grace=0.5))
    history = [
        {"step": 1, "loss": 2.0},
        {"step": 5, "loss": 1.5, "general_ppl": 15.0},
        {"step": 10, "loss": 1.0, "general_ppl": 20.0},
    ]
    readings = watch.readings(FitResult(10, history, "rollback", 0, 0.0), 10)
    assert readings == [
        {"step": 5, "ratio": 1.5, "action": None},
        {"step": 10, "ratio": 2.0, "action": "rollback"},
    ]
