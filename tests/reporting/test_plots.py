from __future__ import annotations

import re

from tests.reporting.conftest import HOSTILE

from burnish.reporting.plots import Dot, Histogram, Share, histogram, point_map, shares, span

RECT = re.compile(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"')


def test_bars_stand_in_proportion_to_counts() -> None:
    chart = histogram(Histogram([0, 1, 2, 3], [10, 0, 5]), label="x")
    bars = [tuple(map(float, found)) for found in RECT.findall(chart)]
    assert len(bars) == 2  # an empty bin has none
    assert bars[1][3] == bars[0][3] / 2
    assert bars[0][1] + bars[0][3] == bars[1][1] + bars[1][3]  # on one base
    assert "0 – 1: 10" in chart


def test_a_logarithmic_axis_gives_equal_ratios_equal_width() -> None:
    chart = histogram(Histogram([0.5, 5.0, 50.0], [1, 1], log=True), label="x")
    first, second = (float(found[2]) for found in RECT.findall(chart))
    assert abs(first - second) < 0.05
    assert "1 – 5: 1" in chart  # whole numbers between the edges


def test_no_value_no_chart() -> None:
    assert histogram(Histogram([0, 1], [0]), label="x") == ""
    assert point_map([], label="x", other="other") == ""


def test_shares_and_targets_are_on_one_scale() -> None:
    drawn = shares([Share("a", 50, (0.7, 0.8)), Share("b", 20)], 100, target="goal")
    # The longest is the target's end, 0.8: 0.5 / 0.8 = 62.5 %, 0.7 / 0.8 = 87.5 %.
    assert '<rect width="62.5%"' in drawn
    assert '<rect x="87.5%" y="-3" width="12.5%"' in drawn
    assert '<rect width="25.0%"' in drawn
    assert "50 · 50 % (goal 70 – 80 %)" in drawn
    assert '<rect width="0.0%"' in shares([Share("a", 0)], 5, target="")


def test_an_interval_lies_on_the_axis_of_its_table() -> None:
    drawn = span(20.0, 15.0, 30.0, (10.0, 30.0))
    assert 'x1="25.0%" x2="100.0%"' in drawn
    assert 'cx="50.0%"' in drawn
    assert 'cx="0.0%"' in span(1.0, 1.0, 1.0, (1.0, 1.0))


def test_the_largest_groups_have_colours_and_the_others_one() -> None:
    dots = [Dot(i, i, f"g{i}", "t") for i in range(9)] + [Dot(0, 0, "g8", "t")]
    drawn = point_map(dots, label="x", other="the rest")
    assert drawn.count('r="3" class="c4"') == 2  # nine groups, seven colours
    assert "the rest" in drawn
    few = point_map(dots[:2], label="x", other="the rest")
    assert "the rest" not in few


def test_text_of_data_is_text() -> None:  # S-13
    drawn = point_map([Dot(0, 0, HOSTILE, HOSTILE)], label=HOSTILE, other="o")
    drawn += shares([Share(HOSTILE, 1)], 1, target=HOSTILE)
    assert "<script" not in drawn
    assert "style=" not in drawn  # pages that allow no inline styles show it
    assert "<img" not in drawn
