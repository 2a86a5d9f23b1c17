"""Near-duplicate instructions."""

from __future__ import annotations

import random

import pytest

from burnish.selection.writing.pool import THRESHOLD, Pool, rouge_l


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a b c d", "a x c d", 6 / 8),  # a c d
        ("a b", "b a", 2 / 4),
        ("a b c", "a b c", 1.0),
        ("a b c d e f", "a b", 4 / 8),
        ("a a a", "a", 2 / 4),
        ("a", "b", 0.0),
        ("", "a", 0.0),
    ],
)
def test_rouge_l_by_hand(first: str, second: str, expected: float) -> None:
    assert rouge_l(first.split(), second.split()) == expected


def test_the_threshold_is_inclusive() -> None:
    # Self-Instruct adds what is *below* 0.7: 7 of 10 words in order give 14 / 20.
    pool = Pool(["a b c d e f g h i j"])
    assert pool.nearly_holds("a b c d e f g x y z")
    assert not pool.nearly_holds("a b c d e f w x y z")


def test_the_index_finds_what_comparing_with_all_finds() -> None:
    draw = random.Random(1)

    def text() -> str:
        return " ".join(draw.choice("abcdefg") for _ in range(draw.randint(1, 9)))

    outcomes = set()
    for _ in range(60):
        texts = [text() for _ in range(8)]
        pool, new = Pool(texts), text()
        near = any(rouge_l(new.split(), one.split()) >= THRESHOLD for one in texts)
        assert pool.nearly_holds(new) == near, (new, texts)
        outcomes.add(near)
    assert outcomes == {True, False}


def test_equal_but_for_case_and_punctuation_is_there() -> None:
    pool = Pool(["How far is it?", "水 是 什么"])
    assert pool.holds("how far is it")
    assert pool.holds("水是什么？")
    assert not pool.holds("how far was it")
    pool.add("How far was it")
    assert pool.holds("how far was it")
