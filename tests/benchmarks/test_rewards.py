"""The gains of the reward benchmark, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.rewards import AGGREGATES, HELDOUT, SETS, Result, gain, page

from burnish.evals.ranking import Ranked, accuracy, report

MEMBERS = np.array([[[2.0, 0.0], [1.0, 1.0]], [[3.0, 3.0], [0.0, 0.0]], [[0.0, 5.0], [1.0, 1.0]]])
"""Three pairs, two members: the first is right and wrong, the second both right, the last as the
first with the sides changed."""


def result(name: str) -> Result:
    lengths = np.array([[1.0, 2.0], [3.0, 1.0], [2.0, 1.0]])
    ranked = Ranked(MEMBERS, lengths, ["a", "b", "c"])
    right = np.array([0.5, 1.0, 0.5])
    means = np.array([0.0, 1.0, 1.0])
    figures = [accuracy(column, ranked.groups) for column in ranked.member_gaps.T]
    shown = dict.fromkeys(AGGREGATES, accuracy([0, 1, 1]))
    gains = dict.fromkeys(AGGREGATES, means - right)
    return Result("seed", 0, name, figures, shown, gains, ["a", "b", "c"], report(ranked))


def test_a_gain_is_of_the_aggregate_over_its_members_mean() -> None:
    found = gain([result(HELDOUT), replace(result(HELDOUT), seed=1)], "mean")
    assert found.value == pytest.approx(0.0)  # -1/2, 0 and 1/2
    assert found.low < 0 < found.high


def test_the_page_has_every_set_and_says_how_many_intervals_it_looked_at() -> None:
    text = page([result(name) for name in SETS], 10, 2)
    assert all(shown in text for shown in SETS.values())
    assert "9 intervals were looked at" in text
    assert "66.7 % (66.7 – 66.7)" in text
