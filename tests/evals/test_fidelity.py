from __future__ import annotations

import math

import numpy as np
import pytest

from burnish.evals.compare import Aligned
from burnish.evals.fidelity import FidelityPolicy, divergence, judge


def sides(lost: int, n: int = 200, nats: float = 0.0) -> Aligned:
    """``n`` items that were all right, of which ``lost`` are wrong after, and 50 documents."""
    spread = np.random.default_rng(0).normal(0, 0.01, 50)
    before = {"form": [1.0] * n, "general": [-3.0] * 50}
    after = {"form": [0.0] * lost + [1.0] * (n - lost), "general": (-3.0 - nats + spread).tolist()}
    groups = {name: [f"{name}{at}" for at in range(len(row))] for name, row in before.items()}
    return Aligned(before, after, groups)


def test_an_export_that_lost_nothing_is_fit() -> None:
    found = judge(FidelityPolicy(), sides(lost=0))
    assert found.decision == "fit"
    assert found.reason.startswith("Fit to release: each of 2 metrics")
    assert [loss.metric for loss in found.losses] == ["tasks", "form", "general"]
    assert found.losses[1].state is None  # no margin of its own


@pytest.mark.parametrize(
    ("lost", "nats", "metric"), [(5, 0.0, "tasks"), (0, 0.06, "general")]
)  # 2.5 points and 0.06 nats
def test_more_than_the_margin_is_unfit(lost: int, nats: float, metric: str) -> None:
    found = judge(FidelityPolicy(), sides(lost, nats=nats))
    assert found.decision == "unfit"
    assert f"{metric} changed by" in found.reason
    assert f"{metric} 变化" in found.reason_zh


def test_too_few_items_do_not_show_it() -> None:
    found = judge(FidelityPolicy(), sides(lost=0, n=25))
    assert found.decision == "undecided"
    assert "25 items do not rule out a loss of 0.02" in found.reason
    none = FidelityPolicy(margins={"tasks": None, "general": None})
    assert "no margin is set" in judge(none, sides(0)).reason


def test_margins_are_set_beside_the_defaults() -> None:
    policy = FidelityPolicy(margins={"form": 0.01})
    assert policy.margins == {"tasks": 0.02, "general": 0.05, "form": 0.01}
    found = judge(policy, sides(lost=3))  # 1.5 points of one task
    assert (found.decision, found.losses[1].state) == ("unfit", "lost")


def test_tasks_are_pooled_so_that_no_change_is_certain_enough() -> None:
    """A mean over tasks would be as uncertain as the smallest one."""
    both = sides(lost=0)
    for side in (both.before, both.after):
        side["few"] = [1.0] * 12
    both.groups["few"] = both.groups["form"][:12]  # the same items: one cluster each
    found = judge(FidelityPolicy(), both)
    assert found.decision == "fit"
    assert found.losses[0].comparison.n == 212


def test_divergence_by_hand() -> None:
    # P = (.5, .25, .25), Q tells (.25 of the first), so its rest is .75:
    # .5 ln(.5/.25) + .5 ln(.5/.75) = .3466 - .2027
    source = np.log(np.array([0.5, 0.25, 0.25]))
    assert divergence(source, [0], [math.log(0.25)]) == pytest.approx(0.14384, abs=1e-5)
    # All told: .5 ln 2 + .25 ln(.25/.5) + .25 ln 1
    whole = divergence(source, [0, 1, 2], [math.log(x) for x in (0.25, 0.5, 0.25)])
    assert whole == pytest.approx(0.17329, abs=1e-5)
    assert divergence(source, [0, 1, 2], source.tolist()) == pytest.approx(0, abs=1e-9)
