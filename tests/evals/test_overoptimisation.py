"""S-21: is a fall beyond noise, and where is the best point? Gao's curves with known optima."""

from __future__ import annotations

import math

import numpy as np
import pytest

from burnish.evals.overoptimisation import GaoFit, fall, fit_gao

DISTANCES = [0.5, 1.0, 1.5, 2.0, 3.0, 4.0]


def curve(kind: str, alpha: float, beta: float) -> list[float]:
    bent = (lambda d: d) if kind == "best_of_n" else math.log
    return [d * (alpha - beta * bent(d)) for d in DISTANCES]


@pytest.mark.parametrize(
    ("kind", "optimum"), [("rl", math.exp(1.2 / 0.8 - 1)), ("best_of_n", 1.2 / 1.6)]
)
def test_gaos_coefficients_and_optimum(kind: str, optimum: float) -> None:
    # S-21: d* = exp(alpha / beta - 1) for RL, alpha / 2 beta for best-of-n.
    found = fit_gao([0.0, *DISTANCES], [0.0, *curve(kind, 1.2, 0.8)], kind)  # type: ignore[arg-type]
    assert found is not None
    assert (found.alpha, found.beta) == (pytest.approx(1.2), pytest.approx(0.8))
    assert found.rmse == pytest.approx(0, abs=1e-12)
    assert found.optimum == pytest.approx(optimum)
    assert found.optimum is not None
    there = found.at(found.optimum)
    assert there > max(found.at(found.optimum * factor) for factor in (0.9, 1.1))
    assert found.at(0.0) == 0.0


def test_the_forms_are_not_the_same() -> None:
    found = fit_gao(DISTANCES, curve("rl", 1.2, 0.8), "best_of_n")
    assert found is not None
    assert found.rmse > 0.01


def test_a_curve_that_only_rises_has_no_optimum_and_few_points_have_no_curve() -> None:
    assert GaoFit("rl", 1.0, -0.1, 0.0).optimum is None
    assert GaoFit("best_of_n", -1.0, 0.5, 0.0).optimum is None
    assert fit_gao([0.0, 1.0, 1.0, 2.0], [0.0, 0.1, 0.2, 0.3]) is None


def looks(
    gains: list[float], seed: int, prompts: int = 200, noise: float = 0.5
) -> list[np.ndarray]:
    """Prompts of different difficulty, scored with noise at each look."""
    draw = np.random.default_rng(seed)
    base = draw.normal(size=prompts)
    return [base + gain + noise * draw.normal(size=prompts) for gain in gains]


def test_proxy_up_and_gold_past_its_optimum_is_found_after_the_optimum() -> None:
    # S-21: alpha 1.2, beta 0.8; the best of these distances is 1.5 (the optimum is 1.65).
    gold = looks([0.0, *curve("rl", 1.2, 0.8)], seed=0)
    proxy = looks([0.0, *DISTANCES], seed=1)
    found = [fall(gold[:end], proxy[:end], looks=6) for end in range(2, 8)]
    assert [one.found for one in found][:4] == [False] * 4
    assert found[-1].found
    assert found[-1].best in (3, 4)
    assert found[-1].lost > 0.5
    assert found[-1].limit == pytest.approx(0.05 / 21)


def test_both_falling_is_not_over_optimisation() -> None:
    gold, proxy = looks([0.0, -2.0], 0), looks([0.0, -2.0], 1)
    found = fall(gold, proxy, looks=1)
    assert found.p_value < 1e-6
    assert not found.found


def test_a_policy_that_stays_is_seldom_stopped_however_often_it_is_looked_at() -> None:
    # The best of many looks is partly luck; the level holds for the whole fit. Testing each look
    # against the best one at 0.05 would stop most of these fits.
    stopped, naive = 0, 0
    for seed in range(200):
        gold = looks([0.0] * 11, seed, prompts=60)
        proxy = [np.full(60, float(place)) for place in range(11)]
        found = [fall(gold[:end], proxy[:end], looks=10) for end in range(2, 12)]
        stopped += any(one.found for one in found)
        naive += any(one.p_value < 0.05 for one in found)
    assert stopped <= 10
    assert naive > 60


def test_without_spread_a_fall_is_certain_and_no_change_is_none() -> None:
    equal = [[1.0, 1.0], [0.0, 0.0]]
    assert fall(equal, [[0.0, 0.0], [1.0, 1.0]], looks=1).found
    assert fall([equal[0]] * 2, [[0.0, 0.0], [1.0, 1.0]], looks=1).p_value == 1.0
    with pytest.raises(ValueError, match="two looks"):
        fall(equal[:1], equal[:1], looks=1)
    with pytest.raises(ValueError, match="as many prompts"):
        fall([[1.0], [1.0, 2.0]], equal, looks=1)
