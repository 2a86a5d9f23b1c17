"""Bradley-Terry ratings and win rates against hand-derived values and simulation."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from burnish.evals.ratings import ELO, Game, bradley_terry
from burnish.evals.winrates import win_rate

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())["stats"]


def games(first: str, second: str, won: int, lost: int, tied: int = 0) -> list[Game]:
    scores = [1.0] * won + [0.0] * lost + [0.5] * tied
    return [Game(first, second, score) for score in scores]


def test_three_wins_of_four_are_190_points() -> None:  # C-36
    found = bradley_terry(games("a", "b", 75, 25)).ratings
    gap = found["a"].value - found["b"].value
    assert gap == pytest.approx(GOLDEN["elo_gap_75pct"], abs=1e-6)  # 400 log10(3)
    assert found["a"].value + found["b"].value == pytest.approx(2000)
    # The gap's standard error is that of the log odds, sqrt(1/75 + 1/25); each rating has half.
    half = 1.959964 * ELO * math.sqrt(1 / 75 + 1 / 25) / 2 * math.sqrt(100 / 99)
    assert found["a"].high - found["a"].value == pytest.approx(half, rel=1e-6)
    assert found["a"].n == 100


def test_three_players() -> None:  # C-36
    played = games("a", "b", 30, 10) + games("a", "c", 40, 5) + games("b", "c", 25, 15)
    found = bradley_terry(played)
    values = [found.ratings[name].value for name in "abc"]
    golden = GOLDEN["bt_3players_W[[0,30,40],[10,0,25],[5,15,0]]"]
    assert values == pytest.approx(golden["elo_centred1000"], abs=1e-4)
    chance = 1 / (1 + 10 ** ((values[1] - values[0]) / 400))
    assert chance == pytest.approx(golden["P(A>B)"], abs=1e-8)
    assert found.connected


def test_a_tie_is_half_a_win_for_each() -> None:  # C-36
    with_ties = bradley_terry(games("a", "b", 50, 0, tied=50)).ratings
    without = bradley_terry(games("a", "b", 75, 25)).ratings
    assert with_ties["a"].value == pytest.approx(without["a"].value)
    # Half-wins spread less than wins and losses of the same mean.
    assert with_ties["a"].high < without["a"].high


def test_what_no_games_connect_is_reported() -> None:  # C-36
    apart = bradley_terry(games("a", "b", 3, 2) + games("c", "d", 1, 1))
    assert apart.leagues == [["a", "b"], ["c", "d"]]
    assert not apart.connected
    assert apart.ratings["c"].value == pytest.approx(1000)
    unbeaten = bradley_terry(games("a", "b", 3, 2) + games("king", "a", 9, 0))
    assert unbeaten.leagues == [["a", "b"], ["king"]]
    assert math.isnan(unbeaten.ratings["king"].value)
    assert unbeaten.ratings["king"].low == -math.inf
    alone = bradley_terry(games("a", "b", 3, 2)).ratings
    assert unbeaten.ratings["a"].value == pytest.approx(alone["a"].value)


def test_intervals_cover() -> None:  # C-36: 93 % to 97 %
    rng = np.random.default_rng(5)
    truth = {"a": 90.0, "b": 20.0, "c": -30.0, "d": -80.0}
    hits = []
    for _ in range(250):
        played = []
        for first, second in combinations(truth, 2):
            chance = 1 / (1 + 10 ** ((truth[second] - truth[first]) / 400))
            won = int(rng.binomial(60, chance))
            played += games(first, second, won, 60 - won)
        found = bradley_terry(played).ratings
        hits += [found[name].low <= 1000 + at <= found[name].high for name, at in truth.items()]
    assert 0.93 <= np.mean(hits) <= 0.97


def test_games_about_one_question_are_one_observation() -> None:
    once = bradley_terry([Game("a", "b", float(i < 20), f"q{i}") for i in range(30)])
    copies = [Game("a", "b", float(i < 20), f"q{i}") for i in range(30) for _ in range(4)]
    four = bradley_terry(copies)
    assert four.ratings["a"].value == pytest.approx(once.ratings["a"].value)
    assert four.ratings["a"].high == pytest.approx(once.ratings["a"].high)


def test_bad_games_are_refused() -> None:
    for wrong in ([], [Game("a", "a", 1.0)], [Game("a", "b", 2.0)]):
        with pytest.raises(ValueError, match="games"):
            bradley_terry(wrong)


def test_a_model_against_itself_wins_half() -> None:  # C-37
    same = win_rate([0.5] * 40, [0] * 40)
    assert (same.raw.value, same.controlled.value, same.ties) == (0.5, 0.5, 40)
    assert same.length_effect == 0


def test_equal_lengths_leave_the_rate_as_it_is() -> None:  # C-37
    found = win_rate([1.0] * 30 + [0.0] * 10, [0] * 40)
    assert found.controlled.value == pytest.approx(0.75)
    # Wald on the log odds: ln 3 +- 1.96 sqrt(1/30 + 1/10), widened by 40 / 39.
    half = 1.959964 * math.sqrt((1 / 30 + 1 / 10) * 40 / 39)
    assert found.controlled.low == pytest.approx(1 / (1 + math.exp(half - math.log(3))), abs=1e-6)
    assert (found.wins, found.losses) == (30, 10)


def test_length_is_controlled() -> None:  # C-37
    # Equal quality; the second model is longer, and the judge follows nothing but length.
    rng = np.random.default_rng(2)
    gaps = rng.normal(150, 200, 600).round().astype(int)
    chance = 1 / (1 + np.exp(-1.5 * np.tanh(gaps / gaps.std())))
    outcomes = (rng.random(600) < chance).astype(float).tolist()
    found = win_rate(outcomes, gaps.tolist())
    assert found.raw.low > 0.55
    assert found.controlled.low < 0.5 < found.controlled.high
    assert abs(found.controlled.value - 0.5) < 0.06
    assert found.length_effect == pytest.approx(1.5, abs=0.3)
    # The other way round the same comparison is mirrored.
    back = win_rate([1 - one for one in outcomes], (-gaps).tolist())
    assert back.controlled.value == pytest.approx(1 - found.controlled.value)


def test_missing_verdicts_are_nobodys_wins() -> None:  # C-38
    found = win_rate([1.0, 0.0, None, None, 1.0, 0.0], [3, 1, 9, 9, -2, 4])
    assert (found.raw.value, found.missing, found.raw.n) == (0.5, 2, 4)
    nothing = win_rate([None, None], [1, 2])
    assert math.isnan(nothing.raw.value)
    every = win_rate([1.0, 1.0, 1.0], [5, 6, 7])
    assert every.controlled == every.raw
    with pytest.raises(ValueError, match=r"found 0\.7"):
        win_rate([0.7], [1])
    with pytest.raises(ValueError, match="as many of each"):
        win_rate([1.0], [])
