"""Always-valid A/B: closed forms, C-35 in simulation, guards, the stop rule."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from burnish.evals.sequential import (
    Arm,
    Metric,
    Outcome,
    StopRule,
    course,
    follow,
    half_width,
    likelihood_ratio,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())["stats"]
Array = NDArray[np.float64]


def ratios(sums: Array, tau2: float) -> Array:
    """Ratios of running sums ``[R, N]`` of outcomes of variance 1."""
    n = np.arange(1, sums.shape[1] + 1)
    found = [
        [likelihood_ratio(total / k, 1 / k, tau2) for total, k in zip(row, n, strict=True)]
        for row in sums
    ]
    return np.array(found)


def test_ratio_equals_the_closed_form() -> None:  # C-35
    golden = GOLDEN["msprt_n100_xbar.3_s2=1_tau2=.1"]
    ratio = likelihood_ratio(0.3, 1 / 100, 0.1)
    assert ratio == pytest.approx(golden["lambda"], rel=1e-9)
    assert 1 / ratio == pytest.approx(golden["p"], rel=1e-8)
    assert likelihood_ratio(0.3, math.inf, 0.1) == 1
    assert likelihood_ratio(9.0, 1e-6, 0.1) == math.inf


def test_the_interval_is_where_the_test_does_not_reject() -> None:
    width = half_width(1 / 100, 0.1, 0.05)
    assert likelihood_ratio(width, 1 / 100, 0.1) == pytest.approx(20, rel=1e-9)


def test_a_thousand_peeks_reject_no_more_than_alpha() -> None:  # C-35
    # The first 400 of the 4000 rows, whose whole gives .029 against .451 of looking naively.
    drawn = np.random.default_rng(0).standard_normal((400, 1000)).cumsum(1)
    peeks = (ratios(drawn, 0.1) >= 20).any(1).mean()
    n = np.sqrt(np.arange(1, 1001))
    naive = (np.abs(drawn / n)[:, 9:] > 1.96).any(1).mean()
    assert peeks <= 0.05
    assert naive > 0.4


def test_variance_of_an_arm_is_that_of_its_users() -> None:
    # Two replies to each of three users: sums 2, 0, 1 and the mean 0.5; (1+1+0) · 3/2 / 36.
    arm = Arm()
    for user, values in {"a": (1, 1), "b": (0, 0), "c": (1, 0)}.items():
        for value in values:
            arm.add(user, value)
    assert arm.mean == 0.5
    assert arm.variance == pytest.approx(2 * 1.5 / 36)
    alone = Arm()
    for index, value in enumerate((1, 1, 0, 0, 1, 0)):
        alone.add(str(index), value)
    assert alone.variance == pytest.approx(np.var([1, 1, 0, 0, 1, 0], ddof=1) / 6)


def simulated(rates: tuple[float, float], count: int, seed: int, each: int = 1) -> list[Outcome]:
    """Outcomes of alternating arms, every user with ``each`` equal ones."""
    source = np.random.default_rng(seed)
    found = []
    for number in range(count // each):
        arm = number % 2
        value = float(source.random() < rates[arm])
        found += [Outcome(arm, f"u{number}", {"value": value})] * each
    return found


def test_equal_arms_are_seldom_told_apart_also_with_few_users() -> None:  # C-35
    rule = StopRule(most=600)
    for each in (1, 4):
        ends = [follow(simulated((0.5, 0.5), 600, seed, each), rule) for seed in range(150)]
        decided = sum(end.decision != "undecided" for end in ends)
        assert decided <= 0.05 * len(ends)
        assert all(end.ended for end in ends)


def test_without_users_repeated_outcomes_would_deceive() -> None:
    """What counting by user is for: four copies of every outcome are no more evidence."""
    rule, decided = StopRule(most=1200), [0, 0]
    for seed in range(60):
        rows = simulated((0.5, 0.5), 1200, seed, each=4)
        apart = [Outcome(row.arm, f"{n}", row.values) for n, row in enumerate(rows)]
        for kind, outcomes in enumerate((rows, apart)):
            decided[kind] += follow(outcomes, rule).decision != "undecided"
    assert decided[1] > decided[0]


@pytest.mark.parametrize(("rates", "decision"), [((0.4, 0.6), "promoted"), ((0.6, 0.4), "kept")])
def test_a_true_difference_is_found_early(rates: tuple[float, float], decision: str) -> None:
    end = follow(simulated(rates, 4000, 1), StopRule())
    assert (end.decision, end.ended) == (decision, True)
    assert end.at < 2000
    assert end.standings[0].p_value <= 0.05


def test_a_broken_guard_stops_and_an_unclear_one_holds_back() -> None:
    source = np.random.default_rng(3)

    def rows(harm: float) -> list[Outcome]:
        return [
            Outcome(arm, f"u{n}", {"value": float(source.random() < (0.3, 0.7)[arm]),
                                   "safe": 1.0 - float(source.random() < (0.02, harm)[arm])})
            for n in range(3000) for arm in (n % 2,)
        ]  # fmt: skip

    rule = StopRule(guards={"safe": 0.05})
    broken = follow(rows(0.5), rule)
    assert broken.decision == "kept"
    assert "safe has fallen by more than 0.05" in broken.reason
    fine = follow(rows(0.02), rule)
    assert fine.decision == "promoted"
    without = follow(rows(0.02), StopRule())
    assert without.at < fine.at


def test_nothing_is_said_before_both_arms_have_users_or_any_spread() -> None:
    metric = Metric("value", StopRule(least=5))
    for number in range(100):
        metric.add(0, f"u{number}", 1.0)
    assert metric.standing().p_value == 1
    for number in range(100):
        metric.add(1, f"v{number}", 0.0)
    # Every outcome of an arm is the same: no spread, no verdict, however they differ.
    assert (metric.standing().p_value, metric.standing().high) == (1, math.inf)
    assert follow([], StopRule()).reason == "0 outcomes do not decide yet"


def test_a_share_that_rises_in_good_times_is_no_merit() -> None:
    source = np.random.default_rng(5)
    rows = []
    for period, (share, rate) in enumerate(((0.1, 0.2), (0.9, 0.8))):
        for number in range(1000):
            arm = int(source.random() < share)
            good = float(source.random() < rate)
            rows.append(Outcome(arm, f"{period}-{number}", {"value": good}, period))
    assert follow(rows, StopRule()).decision == "undecided"
    blind = [Outcome(row.arm, row.user, row.values) for row in rows]
    assert follow(blind, StopRule()).decision == "promoted"


def test_a_returning_user_stays_in_their_first_period() -> None:
    metric = Metric("value", StopRule(least=2))
    metric.add(0, "a", 1.0, period=0)
    metric.add(0, "a", 0.0, period=1)
    assert metric.periods[0][0].count == 2
    assert 1 not in metric.periods


def test_the_course_ends_where_the_test_does_and_only_narrows() -> None:
    rng = np.random.default_rng(0)
    outcomes = [
        Outcome(n % 2, f"u{n}", {"value": float(rng.normal(0.4 * (n % 2))), "other": 0.0})
        for n in range(400)
    ]
    outcomes.insert(7, Outcome(0, "u", {"other": 1.0}))  # counts for another metric only
    rule = StopRule(least=20)
    conclusion = follow(outcomes, rule)
    assert conclusion.decision == "promoted"
    steps = course(outcomes[: conclusion.at], rule)
    assert steps[-1] == (conclusion.at, conclusion.standings[0])
    assert [at for at, _ in steps[6:9]] == [7, 9, 10]
    lows, highs = ([getattr(one, end) for _, one in steps] for end in ("low", "high"))
    assert lows == sorted(lows)
    assert highs == sorted(highs, reverse=True)
    assert math.isinf(lows[38])  # nobody is judged by fewer than 20 users of each arm
    assert math.isfinite(lows[-1])
