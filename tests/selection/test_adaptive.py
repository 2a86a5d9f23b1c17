"""Weak topics get more."""

from __future__ import annotations

import math

import pytest

from burnish.records import Figure
from burnish.selection.adaptive import plan


def scores(**values: float) -> dict[str, Figure]:
    return {topic: Figure.exact(value) for topic, value in values.items()}


def test_half_evenly_and_half_by_weakness() -> None:
    # Weakness 0.2 and 0.8: 0.5/2 + 0.5 * 0.2 = 0.35 and 0.25 + 0.4 = 0.65.
    found = plan(["a", "b"], scores(a=0.8, b=0.2), 100)
    assert [round(one.share, 9) for one in found] == [0.35, 0.65]
    assert [one.count for one in found] == [35, 65]
    assert found[1].score == Figure.exact(0.2)


def test_the_floor_is_all_or_nothing_at_its_ends() -> None:
    assert [one.count for one in plan(["a", "b"], scores(a=1.0, b=0.2), 100, 0)] == [0, 100]
    assert [one.count for one in plan(["a", "b"], scores(a=1.0, b=0.2), 100, 1)] == [50, 50]
    with pytest.raises(ValueError, match="least must be from 0 to 1"):
        plan(["a"], {}, 10, 1.5)


def test_counts_sum_to_the_total_by_largest_remainder() -> None:
    # No scores: 10 / 3 = 3.33 each, the one that is left goes to the first name.
    found = plan(["c", "a", "b"], {}, 10)
    assert {one.topic: one.count for one in found} == {"a": 4, "b": 3, "c": 3}
    assert all(one.score is None for one in found)


def test_an_unmeasured_topic_has_the_mean_weakness() -> None:
    # Weakness 0.1, 0.5 and their mean 0.3: shares 1/6 + (0.1, 0.5, 0.3) / 1.8.
    found = plan(["a", "b", "c"], scores(a=0.9, b=0.5, d=0.0) | {"c": Figure(math.nan, 0, 1)}, 18)
    assert [one.count for one in found] == [4, 8, 6]
    assert found[2].score is None


def test_perfect_everywhere_is_even() -> None:
    assert [one.count for one in plan(["a", "b"], scores(a=1.0, b=1.0), 8)] == [4, 4]


def test_what_a_topic_cannot_give_goes_to_the_others() -> None:
    found = plan(["a", "b"], scores(a=0.8, b=0.2), 100, limits={"a": 90, "b": 20})
    assert [one.count for one in found] == [80, 20]
