"""The reward model's calibration error, by hand."""

from __future__ import annotations

import math

import pytest

from burnish.stages.fit.reward import accuracy, calibration_error


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    # Confidence 0.75 twice, once right: |1.5 - 1| / 2. Confidence 0.9 once, right: |0.9 - 1|.
    three, nine = math.log(3), math.log(9)
    assert calibration_error([three, -three]) == pytest.approx(0.25)
    assert calibration_error([nine]) == pytest.approx(0.1)
    assert calibration_error([three, -three, nine]) == pytest.approx((0.5 + 0.1) / 3)
    assert calibration_error([]) == 0


def test_a_tie_is_not_right() -> None:
    figure = accuracy([1.0, 0.0, -1.0, 2.0])
    assert figure.value == 0.5
    assert figure.n == 4
