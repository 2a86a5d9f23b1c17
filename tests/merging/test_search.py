from __future__ import annotations

import pytest

from burnish.config import InputError
from burnish.merging.search import SearchSettings, Weights, best, search


def bowl(weights: Weights) -> float:
    """Highest at shares of 0.75, 0.25."""
    return -((weights[0] / sum(weights) - 0.75) ** 2)


def test_greedy_takes_what_does_not_harm() -> None:
    # Alone 3, 2, 1 points; the second spoils the first, the third adds to it.
    def score(weights: Weights) -> float:
        first, second, third = weights
        return 3 * first + 2 * second + third - 4 * first * second

    trials = search(SearchSettings(), 3, shares=True, score=score, seed=0)
    assert [trial.weights for trial in trials] == [
        (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1)
    ]  # fmt: skip
    assert best(trials).weights == (1, 0, 1)
    assert best(trials).score == 4


def test_grid_of_shares_and_of_sums() -> None:
    settings = SearchSettings(kind="grid", steps=4)
    trials = search(settings, 2, shares=True, score=bowl, seed=0)
    assert [t.weights for t in trials] == [(0, 1), (0.25, 0.75), (0.5, 0.5), (0.75, 0.25), (1, 0)]
    assert best(trials).weights == (0.75, 0.25)
    free = search(settings, 2, shares=False, score=lambda w: w[0] * w[1], seed=0)
    assert len(free) == 24
    assert best(free).weights == (1, 1)


def test_cma_comes_close_within_its_budget() -> None:
    settings = SearchSettings(kind="cma", budget=30)
    trials = search(settings, 2, shares=True, score=bowl, seed=1)
    assert len(trials) <= 30
    assert trials[0].weights == (0.5, 0.5)
    assert best(trials).score > -1e-3
    assert all(0 <= weight <= 1 for trial in trials for weight in trial.weights)
    assert search(settings, 2, shares=True, score=bowl, seed=1) == trials
    assert search(settings, 2, shares=True, score=bowl, seed=2) != trials


@pytest.mark.parametrize(
    ("settings", "parents", "found"),
    [
        ({"kind": "greedy", "budget": 4}, 3, "at least 5"),
        ({"kind": "grid", "steps": 4, "budget": 14}, 3, "at least 15"),
        ({"kind": "grid"}, 1, "two or more"),
    ],
)
def test_what_cannot_be_searched(settings: dict[str, object], parents: int, found: str) -> None:
    with pytest.raises(InputError, match=found):
        search(SearchSettings.model_validate(settings), parents, True, bowl, 0)
