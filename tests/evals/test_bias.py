"""S-19: a judge that follows place or length is seen to do so."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from burnish.evals.bias import (
    PairBias,
    length_correlation,
    padded_pairs,
    pair_bias,
    self_preference,
)
from burnish.rewards.candidates import Candidate
from burnish.rewards.judge import Duel

ASKED = [{"role": "user", "content": "Why?"}]


def batch(count: int) -> list[tuple[Candidate, Candidate]]:
    draw = random.Random(0)
    texts = ["word " * draw.randint(1, 40) + str(at) for at in range(2 * count)]
    replies = [Candidate(str(at), ASKED, text) for at, text in enumerate(texts)]
    return list(zip(replies[:count], replies[count:], strict=True))


def judged(pairs: Sequence[Any], first_wins: Callable[[str, str], int]) -> list[Duel]:
    """``first_wins(first, second)``: 1 for the one shown first, -1 for the second, 0."""
    return [
        Duel(first_wins(left.reply, right.reply), -first_wins(right.reply, left.reply))
        for left, right in pairs
    ]


def gaps(pairs: Sequence[tuple[Candidate, Candidate]]) -> list[int]:
    return [len(left.reply) - len(right.reply) for left, right in pairs]


def bias_of(first_wins: Callable[[str, str], int]) -> PairBias:
    pairs = batch(61)
    probes = judged(padded_pairs([left for left, _ in pairs], 20, 0), first_wins)
    assert len(probes) == 20
    return pair_bias(gaps(pairs), judged(pairs, first_wins), probes)


def test_a_judge_who_takes_the_first() -> None:  # S-19
    found = bias_of(lambda first, second: 1)
    assert found.first.value == 1.0
    assert found.first.low > 0.9
    assert found.split.value == 1.0
    assert found.longer.n == 0  # no pair has a winner
    assert found.padded.value == 0.0


def test_a_judge_who_takes_the_longer() -> None:  # S-19
    found = bias_of(lambda first, second: 1 if len(first) > len(second) else -1)
    assert found.first.low < 0.5 < found.first.high
    assert found.split.value < 0.1
    assert found.longer.value == 1.0
    assert found.padded.value == 1.0


def test_a_fair_judge() -> None:
    def by_merit(first: str, second: str) -> int:
        # The merit of "word word 37" is 7; a padded copy, which ends otherwise, says the same.
        if not (first[-1].isdigit() and second[-1].isdigit()):
            return 0
        return (first[-1] > second[-1]) - (first[-1] < second[-1])

    found = bias_of(by_merit)
    assert found.first.value == pytest.approx(0.5)
    assert found.split.value == 0.0
    assert found.padded.value == 0.0
    assert found.missing == 0


def test_missing_verdicts_and_unasked_pairs_do_not_count() -> None:
    pairs = batch(3)
    found = pair_bias(gaps(pairs), [Duel(None, 1), Duel(1, 1, asked=False), Duel(1, 1)], [])
    assert found.missing == 1
    assert found.split.n == 1
    assert found.first.n == 3  # one of the first pair, two of the last
    assert math.isnan(found.padded.value)


def test_the_correlation_of_length_and_grade() -> None:
    replies = list(range(1, 31))
    longer = length_correlation(replies, [n / 30 for n in range(1, 31)])
    assert longer.value == pytest.approx(1.0)
    assert longer.low > 0.9
    shorter = length_correlation(replies, [*[-n / 30 for n in range(1, 30)], None])
    assert shorter.value == pytest.approx(-1.0)
    assert shorter.n == 29
    assert math.isnan(length_correlation(replies, [0.5] * 30).value)
    assert math.isnan(length_correlation([], []).value)


def test_self_preference_by_hand() -> None:
    # Label 1: own 3 against others 2, 3 -> 1 + 1/2; label 2: own 1 against 4 -> 0. Label 3 has no
    # other reply, and a reply without a grade is none: (1.5 + 0) / 3.
    labels = [1, 1, 1, 2, 2, 3, 2]
    grades = [3, 2, 3, 1, 4, 5, None]
    own = [True, False, False, True, False, True, True]
    found = self_preference(labels, grades, own, 0)
    assert (found.value, found.n) == (pytest.approx(0.5), 2)
    nothing = self_preference([1, 2], [1, 2], [True, False], 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.n) == (0.0, 1.0, 0)


def test_self_preference_is_not_merit() -> None:  # S-19
    draw = random.Random(1)
    people = [draw.randint(1, 5) for _ in range(400)]
    own = [draw.random() < 0.2 + 0.12 * label for label in people]  # its own model is better
    noise = [draw.choice((-1, 0, 1)) for _ in people]
    fair = [float(label + extra) for label, extra in zip(people, noise, strict=True)]
    vain = [grade + mine for grade, mine in zip(fair, own, strict=True)]
    found = self_preference(people, fair, own, 0)
    assert found.low < 0.5 < found.high
    assert self_preference(people, vain, own, 0).low > 0.6
    always = self_preference([1] * 8, [2.0] * 4 + [1.0] * 4, [True] * 4 + [False] * 4, 0)
    assert (always.value, always.high) == (1.0, 1.0)
    assert 0.4 < always.low < 0.7  # four replies do not prove it


def test_the_interval_of_self_preference_covers() -> None:
    covered, runs = 0, 200
    for seed in range(runs):
        draw = random.Random(seed)
        own = [at % 2 == 0 for at in range(60)]
        people = [draw.randint(1, 3) for _ in own]
        grades = [float(draw.randint(1, 5)) for _ in own]  # blind to who wrote what
        found = self_preference(people, grades, own, seed)
        covered += found.low <= 0.5 <= found.high
    assert 0.91 <= covered / runs <= 0.985
