"""Reliability, calibration error and temperature, by hand."""

from __future__ import annotations

import math

import pytest

from burnish.evals.calibration import (
    COLDEST,
    HOTTEST,
    calibration_error,
    fit_temperature,
    reliability,
)

THREE, NINE = math.log(3), math.log(9)
"""Gaps of confidence 0.75 and 0.9."""


def test_calibration_error_is_the_gap_of_confidence_and_accuracy() -> None:
    # Confidence 0.75 twice, once right: |1.5 - 1| / 2. Confidence 0.9 once, right: |0.9 - 1|.
    assert calibration_error([THREE, -THREE]) == pytest.approx(0.25)
    assert calibration_error([NINE]) == pytest.approx(0.1)
    assert calibration_error([THREE, -THREE, NINE]) == pytest.approx((0.5 + 0.1) / 3)
    assert calibration_error([]) == 0


def test_bins_hold_counts_and_means() -> None:
    first, last = reliability([0.1, -0.1, 0.0, 60.0])
    assert (first.low, first.high, first.n) == (0.5, 0.55, 3)
    sure = 1 / (1 + math.exp(-0.1))
    assert first.confidence == pytest.approx((2 * sure + 0.5) / 3)
    assert first.accuracy == pytest.approx(0.5)  # right, wrong, and a tie that is half right
    assert (last.low, last.n, last.accuracy) == (pytest.approx(0.95), 1, 1.0)
    assert reliability([]) == []


def test_a_temperature_makes_confidence_what_accuracy_is() -> None:
    # Three of four are right at a gap of 2 ln 3: s(gap / T) = 3/4 where T = 2.
    assert fit_temperature([2 * THREE] * 3 + [-2 * THREE]) == pytest.approx(2.0, rel=1e-3)
    assert fit_temperature([THREE / 2] * 3 + [-THREE / 2]) == pytest.approx(0.5, rel=1e-3)


def test_a_temperature_has_bounds_where_there_is_no_best_one() -> None:
    assert fit_temperature([1.0, 2.0]) == pytest.approx(COLDEST, rel=0.01)
    assert fit_temperature([-1.0, -2.0]) == pytest.approx(HOTTEST, rel=0.01)
    assert fit_temperature([0.0, 0.0]) is None
    assert fit_temperature([]) is None
