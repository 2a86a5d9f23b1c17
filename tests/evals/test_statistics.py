"""Intervals and tests against textbook values, scipy and simulation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from burnish.evals.paired import compare, exceeds, pair
from burnish.evals.proportions import PairedRates, pass_at_k
from burnish.evals.resampling import cluster_codes, design_effect, sign_flip
from burnish.evals.statistics import (
    clustered_bootstrap,
    cohen_kappa,
    holm,
    mean_figure,
    minimum_detectable_effect,
    non_inferiority,
    paired_comparison,
    sample_size,
    wilson,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())["stats"]


def outcomes(both: int, gains: int, losses: int, neither: int) -> tuple[list[float], list[float]]:
    """Paired 0/1 outcomes with these four counts."""
    before = [1.0] * both + [0.0] * gains + [1.0] * losses + [0.0] * neither
    after = [1.0] * both + [1.0] * gains + [0.0] * losses + [0.0] * neither
    return before, after


def test_wilson() -> None:  # C-34
    figure = wilson(8, 10)
    assert (figure.value, figure.n) == (0.8, 10)
    assert [figure.low, figure.high] == pytest.approx(GOLDEN["wilson95_8of10"], abs=1e-9)
    for k, n, level in ((0, 7, 0.95), (7, 7, 0.9), (3, 50, 0.99)):
        theirs = stats.binomtest(k, n).proportion_ci(level, method="wilson")
        found = wilson(k, n, level)
        assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    nothing = wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.n) == (0, 1, 0)
    with pytest.raises(ValueError, match="successes, n: 3, 2"):
        wilson(3, 2)


def test_pass_at_k() -> None:  # C-34
    for k, expected in GOLDEN["pass@k_n10_c3"].items():
        assert pass_at_k(10, 3, int(k)) == pytest.approx(expected, abs=1e-9)
    assert (pass_at_k(4, 0, 2), pass_at_k(4, 4, 4), pass_at_k(1, 1, 1)) == (0.0, 1.0, 1.0)
    for wrong in ((3, 1, 4), (3, 4, 1), (3, 1, 0)):
        with pytest.raises(ValueError, match="n, c, k: 3"):
            pass_at_k(*wrong)


def test_kappa() -> None:  # C-34
    first = ["y"] * 25 + ["n"] * 25
    second = ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    assert cohen_kappa(first, second) == pytest.approx(GOLDEN["kappa[[20,5],[10,15]]"])
    assert cohen_kappa(first, first) == 1
    assert math.isnan(cohen_kappa([1, 1], [1, 1]))
    with pytest.raises(ValueError, match="first, second: 1, 2"):
        cohen_kappa([1], [1, 2])


@pytest.mark.parametrize(("b", "c"), [(10, 2), (6, 16)])
def test_mcnemar_exact(b: int, c: int) -> None:  # C-34
    comparison = paired_comparison(*outcomes(30, b, c, 20))
    n = 50 + b + c
    assert comparison.method == "McNemar exact, Tango interval"
    assert comparison.p_two_sided == pytest.approx(GOLDEN[f"mcnemar_exact_b{b}_c{c}"], abs=1e-9)
    one_sided = sum(math.comb(b + c, k) for k in range(b, b + c + 1)) / 2 ** (b + c)
    assert comparison.p_value == pytest.approx(one_sided)
    assert comparison.difference == pytest.approx((b - c) / n)
    assert (comparison.n, comparison.missing) == (n, 0)


def test_score_at_0_is_mcnemars() -> None:  # C-34
    chi2 = GOLDEN["mcnemar_b59_c121"]["chi2"]
    assert PairedRates(59, 121, 400).score(0) ** 2 == pytest.approx(chi2, abs=1e-9)


def test_tango_interval_in_closed_form() -> None:
    # Without discordant pairs the score equation gives +- z^2 / (n + z^2).
    z2 = stats.norm.ppf(0.975) ** 2
    low, high = PairedRates(0, 0, 40).interval(0.95)
    assert (low, high) == pytest.approx((-z2 / (40 + z2), z2 / (40 + z2)), abs=1e-9)
    # All pairs gains: one proportion of n / n, so Wilson's 1 - z^2 / (n + z^2) on 2p - 1.
    low, high = PairedRates(10, 0, 10).interval(0.95)
    assert high == 1
    assert 0 < low < 1
    mirrored = PairedRates(3, 9, 30).interval(0.95)
    assert PairedRates(9, 3, 30).interval(0.95) == pytest.approx((-mirrored[1], -mirrored[0]))


@settings(max_examples=60, deadline=None)
@given(*[st.integers(0, 12)] * 4)
def test_tango_interval_holds_the_difference(both: int, b: int, c: int, neither: int) -> None:
    n = both + b + c + neither
    if n == 0:
        return
    rates = PairedRates(b, c, n)
    low, high = rates.interval(0.95)
    assert -1 <= low <= (b - c) / n <= high <= 1
    assert low < high
    for edge, tail in ((low, 0.025), (high, 0.975)):
        if -1 < edge < 1:
            assert rates.p_above(edge) == pytest.approx(tail, abs=1e-6)


def test_tango_interval_covers() -> None:
    rng = np.random.default_rng(1)
    counts = rng.multinomial(40, [0.5, 0.2, 0.1, 0.2], size=400)
    hits = [
        low <= 0.1 <= high
        for _, b, c, _ in counts
        for low, high in [PairedRates(b, c, 40).interval(0.95)]
    ]
    assert 0.92 <= np.mean(hits) <= 0.98


def test_missing_answers_are_dropped_in_pairs_and_counted() -> None:  # C-38
    before, after = outcomes(3, 10, 2, 5)
    nan = math.nan
    full = paired_comparison(before, after)
    holed = paired_comparison([*before, 0.0, nan, nan], [*after, nan, 1.0, nan])
    assert holed.missing == 3
    assert holed.n == 20
    assert holed.p_value == full.p_value
    with_none = paired_comparison([*before, 0.0], [*after, None])
    assert (with_none.missing, with_none.difference) == (1, full.difference)
    empty = paired_comparison([nan, 0.0], [1.0, nan])
    assert (empty.n, empty.missing, empty.p_value, empty.p_two_sided) == (0, 2, 1, 1)
    assert math.isnan(empty.difference)


def test_no_change_is_no_evidence() -> None:
    for values in ([0.0, 1.0, 1.0] * 4, [0.3, 0.7] * 6):
        same = paired_comparison(values, values)
        assert (same.difference, same.p_value, same.p_two_sided, same.effect_size) == (0, 1, 1, 0)
    one_cluster = paired_comparison([0.0] * 5, [1.0] * 5, ["a"] * 5)
    assert one_cluster.p_value == 0.5  # a single cluster's coin toss


def test_swapping_the_sides_mirrors_the_result() -> None:
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=20), rng.normal(0.3, 1, size=20)
    there, back = paired_comparison(before, after), paired_comparison(after, before)
    assert there.difference == pytest.approx(-back.difference)
    assert there.effect_size == pytest.approx(-back.effect_size)
    assert there.p_two_sided == back.p_two_sided
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=0.05)


def test_sign_flip_is_exact_for_few_clusters() -> None:
    # 2^3 patterns of 1, 2, 4: only the observed one reaches 7; two reach 7 in absolute value.
    assert sign_flip(np.array([1.0, 2.0, 4.0]), 100, 0) == (1 / 8, 2 / 8)
    assert sign_flip(np.array([1.0, 2.0, -4.0]), 100, 0)[0] == 5 / 8
    assert sign_flip(np.array([0.0, 0.0]), 100, 0) == (1, 1)
    # Seven gains and no loss among 0/1 outcomes: the same as the exact sign test.
    assert sign_flip(np.ones(7), 100, 0)[0] == 0.5**7


def test_sign_flip_by_draws_agrees_with_the_binomial_and_never_says_0() -> None:
    above, both = sign_flip(np.array([1.0] * 14 + [-1.0] * 6), 20_000, 3)
    assert above == pytest.approx(stats.binom.sf(13, 20, 0.5), abs=0.006)
    assert both == pytest.approx(stats.binomtest(14, 20).pvalue, abs=0.008)
    assert sign_flip(np.ones(60), 999, 0) == (1 / 1000, 1 / 1000)


def test_repeating_items_within_clusters_adds_no_evidence() -> None:
    before, after = outcomes(6, 6, 1, 7)
    groups = [f"g{i}" for i in range(20)]
    once = paired_comparison(before, after, groups)
    many = paired_comparison(before * 5, after * 5, groups * 5)
    naive = paired_comparison(before * 5, after * 5)
    assert many.p_value == pytest.approx(once.p_value)
    assert naive.p_value < 0.001 < many.p_value
    assert many.high - many.low > 2 * (naive.high - naive.low)
    assert non_inferiority(after * 5, before * 5, 0.05, groups * 5) > 0.5
    assert many.method == "sign-flip by cluster, Tango interval"


def test_design_effect() -> None:
    values = np.array([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    (pairs,) = cluster_codes(["a", "a", "b", "b", "c", "c", "d", "d"])
    # Identical items in clusters of 2: variance of the mean of 4 over that of 8,
    # (1/3 / 4) / (2/7 / 8) with the unbiased variances 1/3 and 2/7.
    assert design_effect(values, pairs) == pytest.approx((1 / 12) / (2 / 56))
    assert design_effect(values, np.arange(8)) == 1
    assert design_effect(np.ones(8), pairs) == 2
    assert cluster_codes(["a", "", "a", ""], ["", "a"])[1].tolist() == [3, 0]


def test_mean_figure_picks_its_interval() -> None:
    plain = mean_figure([1.0] * 8 + [0.0] * 2)
    assert [plain.low, plain.high] == pytest.approx(GOLDEN["wilson95_8of10"], abs=1e-9)
    blank = mean_figure([1.0] * 8 + [0.0] * 2, [""] * 10)
    assert (blank.low, blank.high) == (plain.low, plain.high)
    sure = mean_figure([1.0] * 20, ["a", "b", "c", "d"] * 5)
    assert sure.value == sure.high == 1
    assert sure.low < wilson(4, 4).low  # four clusters, and Student's quantile
    assert sure.n == 20
    scores = mean_figure([0.2, 0.4, math.nan, 0.9, 0.5])
    assert scores.n == 4
    assert scores.value == pytest.approx(0.5)
    assert scores.low < 0.5 < scores.high


def test_bootstrap_covers_with_few_clusters() -> None:
    rng = np.random.default_rng(5)
    groups = [f"g{i // 3}" for i in range(24)]
    hits = 0
    for trial in range(300):
        values = np.repeat(rng.normal(size=8), 3) + 0.3 * rng.normal(size=24)
        figure = clustered_bootstrap(values, groups, draws=400, seed=trial)
        hits += figure.low <= 0 <= figure.high
    assert 0.92 <= hits / 300 <= 0.985


def test_bootstrap_of_another_statistic_and_its_seed() -> None:
    values, groups = [1.0, 2.0, 3.0, 4.0, 100.0], ["a", "a", "b", "c", "d"]
    median = clustered_bootstrap(values, groups, lambda v: float(np.median(v)), draws=200)
    assert median.value == 3
    slow = clustered_bootstrap(values, groups, lambda v: float(v.mean()), draws=3000, seed=1)
    fast = clustered_bootstrap(values, groups, draws=3000, seed=2)
    assert (slow.value, slow.n) == (fast.value, fast.n)
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high), rel=0.1)
    assert fast == clustered_bootstrap(values, groups, draws=3000, seed=2)
    assert fast != clustered_bootstrap(values, groups, draws=30, seed=3)
    one = clustered_bootstrap([4.0])
    assert (one.value, one.low, one.high) == (4, -math.inf, math.inf)
    assert math.isnan(clustered_bootstrap([]).value)


def test_non_inferiority() -> None:
    # Tango without discordant pairs: score at -m is sqrt(n m / (1 - m)).
    before, after = outcomes(50, 0, 0, 50)
    expected = stats.norm.sf(math.sqrt(100 * 0.05 / 0.95))
    assert non_inferiority(before, after, 0.05) == pytest.approx(expected)
    assert non_inferiority(*outcomes(40, 0, 12, 48), 0.05) > 0.95
    rng = np.random.default_rng(2)
    base = rng.normal(size=60)
    close, worse = base + rng.normal(0, 0.1, 60), base - 1 + rng.normal(0, 0.1, 60)
    assert non_inferiority(base, close, 0.1) < 0.01
    assert non_inferiority(base, worse, 0.1) > 0.99
    with pytest.raises(ValueError, match="margin: -1"):
        non_inferiority(base, close, -1)


def test_non_inferiority_holds_its_level_at_the_margin() -> None:
    rng = np.random.default_rng(4)
    counts = rng.multinomial(60, [0.4, 0.05, 0.15, 0.4], size=600)  # true difference -0.1
    wrongly_held = np.mean([PairedRates(b, c, 60).p_above(-0.1) <= 0.05 for _, b, c, _ in counts])
    assert wrongly_held <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_macro_average_weighs_metrics_alike_and_shares_clusters() -> None:
    small = pair([0.0] * 4, [1.0] * 4, ["a", "b", "c", "d"])
    large = pair([0.0] * 40, [0.0] * 40)
    both = compare([small, large])
    assert both.difference == 0.5
    assert both.n == 4
    assert both.p_value == 1 / 16
    twice = compare([small, small])
    assert twice.p_value == 1 / 16  # the same four clusters, not eight
    assert compare([small, pair([], [])]).n == 0


def test_macro_average_without_spread_is_not_certain() -> None:
    still = pair([0.0, 1.0] * 10, [0.0, 1.0] * 10)
    both = compare([still, still])
    alone = compare([still])
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high))
    assert exceeds([still, still], -0.05) == pytest.approx(exceeds([still], -0.05))
    assert exceeds([still], -0.05) > 0.1


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_sample_size_and_detectable_effect() -> None:
    # (1.6448536 + 0.8416212)^2 = 6.18256; at effect 0.1 and sd 0.5: 154.56 pairs.
    assert sample_size(0.1, 0.5) == 155
    assert minimum_detectable_effect(155, sd=0.5) == pytest.approx(0.0998, abs=1e-4)
    assert sample_size(0.1, 0.5, alpha=0.01, power=0.9) == 326
    with pytest.raises(ValueError, match="effect: 0"):
        sample_size(0, 1.0)


def test_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="1, 2, 1 values"):
        paired_comparison([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="infinite"):
        paired_comparison([1.0], [math.inf])
    with pytest.raises(ValueError, match="expected 0/1 outcomes"):
        paired_comparison([1.0, 0.5], [1.0, 0.0], binary=True)
