from __future__ import annotations

import pytest

from burnish.selection.shares import divide


def test_a_total_is_divided_in_proportion_and_rounded_by_largest_remainder() -> None:
    assert divide({"a": 3, "b": 1}, 8) == {"a": 6, "b": 2}
    # 3.33 each: the one left goes to the first by name
    assert divide({"y": 1, "x": 1, "z": 1}, 10) == {"y": 3, "x": 4, "z": 3}
    assert divide({"a": 1, "b": 0}, 5) == {"a": 5, "b": 0}
    assert divide({}, 5) == {}


def test_binary_fractions_do_not_move_a_whole_share() -> None:
    # 0.05 + 0.25 + 0.7 is not 1 in binary
    found = divide({"expert": 0.05, "selected": 0.25, "bulk": 0.7}, 100)
    assert found == {"expert": 5, "selected": 25, "bulk": 70}


def test_what_a_full_part_cannot_take_the_others_get() -> None:
    assert divide({"a": 1, "b": 1, "c": 1}, 30, {"a": 4, "b": 100, "c": 100}) == {
        "a": 4, "b": 13, "c": 13,
    }  # fmt: skip
    # filling a takes b over its limit in turn: 5 + 12 leaves 13
    assert divide({"a": 1, "b": 1, "c": 1}, 30, {"a": 5, "b": 12, "c": 100}) == {
        "a": 5, "b": 12, "c": 13,
    }  # fmt: skip
    assert divide({"a": 1, "b": 9}, 30, {"a": 4, "b": 5}) == {"a": 4, "b": 5}


def test_negative_weights_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        divide({"a": -1}, 3)
