"""What is said of ranked pairs: accuracy, length, agreement, by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from burnish.evals.ranking import Ranked, accuracy, agreement_report, length_report, report


def ranked(
    chosen: list[list[float]], rejected: list[list[float]], lengths: list[list[float]]
) -> Ranked:
    """Pairs of groups of their own, from the members' scores of both replies."""
    members = np.stack([np.array(chosen), np.array(rejected)], 1).astype(float)
    return Ranked(members, np.array(lengths, dtype=float), [f"g{n}" for n in range(len(chosen))])


def test_a_tie_is_not_right() -> None:
    figure = accuracy([1.0, 0.0, -1.0, 2.0])
    assert figure.value == 0.5
    assert figure.n == 4


def test_pairs_of_one_group_count_as_fewer() -> None:
    alone = accuracy([1.0] * 6 + [-1.0] * 6, [f"g{n}" for n in range(12)])
    grouped = accuracy([1.0] * 6 + [-1.0] * 6, ["a"] * 3 + ["b"] * 3 + ["c"] * 3 + ["d"] * 3)
    assert alone.value == grouped.value == 0.5
    assert grouped.high - grouped.low > alone.high - alone.low


def test_agreement_of_members() -> None:
    # Gaps of two members: both right; both wrong; of two minds, mean right; of two minds, a tie.
    pairs = ranked([[1, 1], [0, 0], [3, 0], [1, 0]], [[0, 0], [1, 2], [0, 1], [0, 1]], [[1, 1]] * 4)
    found = agreement_report(pairs)
    assert found["all_agree"]["value"] == 0.5
    assert (found["agree"]["value"], found["agree"]["n"]) == (0.5, 2)
    assert (found["disagree"]["value"], found["disagree"]["n"]) == (0.5, 2)
    # Deviations of the gaps (1, 1), (-1, -2), (3, -1), (1, -1): 0, 1/2, 2, 1.
    assert found["spread"] == pytest.approx(3.5 / 4)


def test_length_is_reported_by_correlation_and_by_side() -> None:
    # Scores are lengths: whatever was chosen, the longer reply wins.
    lengths = [[5, 2], [3, 9], [7, 1], [4, 4], [8, 6]]
    pairs = ranked([[a] for a, _ in lengths], [[b] for _, b in lengths], lengths)
    found = length_report(pairs)
    assert found["scores"]["value"] == pytest.approx(1.0)
    assert found["gaps"]["value"] == pytest.approx(1.0)
    assert (found["longer_chosen"]["value"], found["longer_chosen"]["n"]) == (0.75, 4)
    by_side = {name: (one["value"], one["n"]) for name, one in found["accuracy"].items()}
    assert by_side == {"longer": (1.0, 3), "same": (0.0, 1), "shorter": (0.0, 1)}


def test_rank_correlation_is_spearmans_with_an_interval() -> None:
    # Ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15).
    lengths = [[2, 1], [3, 1], [4, 1], [5, 1]]
    gaps = [0.2, 0.1, 9.0, 0.3]
    found = length_report(ranked([[gap] for gap in gaps], [[0]] * 4, lengths))["gaps"]
    assert found["value"] == pytest.approx(0.6)
    assert found["low"] < 0.6 < found["high"]


def test_a_single_model_has_no_agreement_and_all_of_it_is_json() -> None:
    pairs = ranked([[1], [2]], [[0], [3]], [[1, 1], [1, 1]])
    found = report(pairs, temperature=2.0, calibrated=pairs.part(np.array([True, False])))
    assert "agreement" not in found
    assert set(found["length"]) == {"accuracy"}  # equal lengths correlate with nothing
    assert found["accuracy"]["n"] == 2
    (only,) = found["calibration"]["after"]["bins"]
    assert only["n"] == 1
    assert only["confidence"] == pytest.approx(1 / (1 + math.exp(-0.5)))
    json.dumps(found, allow_nan=False)
