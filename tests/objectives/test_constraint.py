"""C-27: the multiplier's step, the combined advantage, and what the two do together."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from burnish.objectives import MultiplierKind, constrained_advantages, next_multiplier


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # e^.2, then times e^(.1 x 1.221403 x 2), then times e^(-.1 x 1.559368)
        ("scaled", [1.221403, 1.559368, 1.334216]),
        # e^.2, e^.4, e^.3
        ("plain", [1.221403, 1.491825, 1.349859]),
    ],
)
def test_the_steps_of_each_variant(kind: MultiplierKind, expected: list[float]) -> None:  # C-27
    multiplier, found = 1.0, []
    for excess in (2.0, 2.0, -1.0):
        multiplier = next_multiplier(multiplier, excess, 0.1, kind)
        found.append(multiplier)
    assert found == pytest.approx(expected, abs=1e-6)


def test_damping_answers_to_the_change_of_the_excess() -> None:  # C-27
    # ln lambda: .1 x .3 + 2 x (.3 - .1) = .43; a cost that falls back takes the .4 away again.
    risen = next_multiplier(1.0, 0.3, 0.1, "plain", change=0.2, damping=2.0)
    assert risen == pytest.approx(1.537258, abs=1e-6)
    fallen = next_multiplier(risen, 0.1, 0.1, "plain", change=-0.2, damping=2.0)
    assert fallen == pytest.approx(math.exp(0.03 + 0.01))
    assert next_multiplier(1.0, 0.3, 0.1, "plain", change=0.2) == pytest.approx(math.exp(0.03))


@pytest.mark.parametrize("kind", ["scaled", "plain"])
def test_it_stays_above_its_minimum(kind: MultiplierKind) -> None:  # C-27
    assert next_multiplier(0.3, -1e6, 1.0, kind, minimum=0.2) == 0.2


@pytest.mark.parametrize("kind", ["scaled", "plain"])
def test_it_stays_above_0_and_below_its_maximum(kind: MultiplierKind) -> None:  # C-27
    for excess in (-1e6, 1e6):
        multiplier = 2.0
        for _ in range(5):
            multiplier = next_multiplier(multiplier, excess, 1.0, kind, maximum=10.0)
            assert 0 < multiplier <= 10.0
    assert multiplier == 10.0
    assert next_multiplier(10.0, -0.1, 1.0, kind, maximum=10.0) < 10.0


def test_advantages_by_hand() -> None:  # C-27
    rewards, costs = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.5, -1.0, 3.0])
    # (1 - 3 x .5) / 4, (-2 + 3) / 4, (.5 - 9) / 4
    found = constrained_advantages(rewards, costs, 3.0)
    assert found.tolist() == pytest.approx([-0.125, 0.25, -2.125])
    assert torch.equal(constrained_advantages(rewards, costs, 0.0), rewards)


def bandit(kind: MultiplierKind, budget: float, steps: int = 3000) -> list[tuple[float, float]]:
    """(lambda, mean cost) of each step of exact policy gradients on three arms."""
    rewards, costs = torch.tensor([0.0, 1.0, 0.2]), torch.tensor([0.0, 1.0, 0.9])
    scores, multiplier, found = torch.zeros(3), 1.0, []
    for _ in range(steps):
        policy = scores.softmax(0)
        cost = float(policy @ costs)
        found.append((multiplier, cost))
        gains = constrained_advantages(rewards - policy @ rewards, costs - cost, multiplier)
        scores = scores + 0.3 * policy * gains
        multiplier = next_multiplier(multiplier, cost - budget, 0.02, kind)
    return found


@pytest.mark.parametrize("kind", ["scaled", "plain"])
def test_the_cost_goes_to_the_budget(kind: MultiplierKind) -> None:
    """C-27. Below a cost of 1 the best policy mixes the first two arms, whose line has slope
    1 = lambda; the two circle around it."""
    found = bandit(kind, budget=0.5)
    late = found[len(found) // 2 :]
    assert sum(cost for _, cost in late) / len(late) == pytest.approx(0.5, abs=0.03)
    assert sum(value for value, _ in late) / len(late) == pytest.approx(1.0, abs=0.1)
    for (before, cost), (after, _) in pairwise(found):
        assert (after > before) == (cost > 0.5)
    # A budget that does not bind: lambda falls away, and the dearest arm is the best.
    loose = bandit(kind, budget=2.0, steps=1500)
    assert loose[-1][0] < 0.05
    assert loose[-1][1] > 0.99


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"multiplier": 0.0}, "above 0"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"excess": math.nan}, "finite"),
        ({"change": math.inf}, "finite"),
        ({"damping": -1.0}, "above 0"),
        ({"minimum": 0.0}, "0 < minimum < maximum"),
        ({"minimum": 2.0, "maximum": 2.0}, "0 < minimum < maximum"),
        ({"kind": "paper"}, "scaled or plain"),
    ],
)
def test_bad_numbers_are_refused(changes: dict[str, Any], said: str) -> None:
    plain: dict[str, Any] = {"multiplier": 1.0, "excess": 0.0, "learning_rate": 0.1}
    assert next_multiplier(**plain) == 1.0
    with pytest.raises(ValueError, match=said):
        next_multiplier(**(plain | changes))


def test_bad_advantages_are_refused() -> None:
    one = torch.ones(2)
    with pytest.raises(ValueError, match=r"costs: shape \[3\]"):
        constrained_advantages(one, torch.ones(3), 1.0)
    with pytest.raises(ValueError, match="at least 0"):
        constrained_advantages(one, one, -0.1)
