from __future__ import annotations

import re
from itertools import pairwise

import pytest

from burnish.reporting.charts import (
    Interval,
    Line,
    interval_chart,
    line_chart,
    named,
    short,
    smoothed,
    thin,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (0, 120, [0, 50, 100]), (3, 3, [3])],
)
def test_ticks_are_round_numbers(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_short_numbers() -> None:
    assert [short(v) for v in (0.25, 1234, 4.5e6, -2000)] == ["0.25", "1.23k", "4.5M", "-2k"]
    assert short(0.25, percent=True) == "25 %"


def test_thin_takes_means_of_equal_runs() -> None:
    points = [(float(x), float(x % 2)) for x in range(480)]
    thinned = thin(points)
    assert len(thinned) == 240
    assert {y for _, y in thinned} == {0.5}


def test_smoothing_keeps_a_constant_and_its_first_value() -> None:
    assert smoothed([(float(x), 2.0) for x in range(50)])[-1][1] == pytest.approx(2.0)
    assert smoothed([(0.0, 5.0), (1.0, 0.0)])[0] == (0.0, 5.0)


def test_line_chart_drops_what_is_not_finite_and_keeps_inside() -> None:
    chart = line_chart([Line("loss", [(0, 1.0), (1, float("nan")), (2, 3.0)])], label="loss")
    assert "nan" not in chart
    assert chart.count("<circle") == 2
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', chart)]
    assert all(0 <= y <= 190 for y in heights)
    assert heights[0] > heights[1]  # SVG's y grows downward


def test_line_chart_without_points_is_nothing() -> None:
    assert line_chart([Line("loss", [(0, float("inf"))])], label="loss") == ""


def test_bound_is_inside_the_drawing() -> None:
    chart = line_chart(
        [Line("ppl", [(0, 100.0), (1, 110.0)])], label="ppl", bound=(500.0, "limit"), log=True
    )
    match = re.search(r'y1="([\d.]+)" y2="[\d.]+" class="bound"', chart)
    assert match is not None
    assert 0 < float(match.group(1)) < 60
    assert "limit" in chart


def test_interval_chart_places_value_between_its_ends() -> None:
    chart = interval_chart([Interval("x", 0.5, 0.25, 0.75)], label="x", domain=(0.0, 1.0))
    ends = re.search(r'x1="([\d.]+)" x2="([\d.]+)" y1="[\d.]+" y2="[\d.]+" class="whisker"', chart)
    centre = re.search(r'cx="([\d.]+)"', chart)
    assert ends is not None
    assert centre is not None
    assert float(ends.group(1)) == 8 + 0.25 * 344
    assert float(ends.group(2)) == 8 + 0.75 * 344
    assert float(centre.group(1)) == 180


def test_numbers_of_an_axis_differ() -> None:
    assert named([0.9995, 1.0, 1.0005]) == ["0.9995", "1", "1.0005"]
    assert named([0.0, 0.5]) == ["0", "0.5"]
    assert named([0.9995, 1.0], percent=True) == ["99.95 %", "100 %"]


@pytest.mark.parametrize("name", ["Round {}", "第 {} 轮", "safety@{}"])
def test_names_of_many_rounds_do_not_touch(name: str) -> None:
    names = [name.format(number) for number in range(7)]
    line = Line("", [(float(place), 0.5) for place in range(7)])
    chart = line_chart([line], label="", x_names=names)
    shown = re.findall(r'<text x="([\d.]+)" y="183" text-anchor="(\w+)">([^<]+)<', chart)
    assert [shown[0][2], shown[-1][2]] == [names[0], names[-1]]
    ends = []
    for x, anchor, text in shown:
        wide = sum(11 if letter > "\u2e80" else 6.1 for letter in text)
        left = float(x) - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        ends.append((left, left + wide))
    assert all(one[1] < two[0] for one, two in pairwise(ends))
