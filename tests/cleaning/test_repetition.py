"""Shares worked out by hand."""

from __future__ import annotations

import pytest

from burnish.cleaning.repetition import (
    RepetitionSettings,
    findings,
    repeated_items,
    repeated_ngrams,
    top_ngram,
)


def test_repeated_items() -> None:
    assert repeated_items(["ab", "ab", "c"]) == (1 / 3, 2 / 5)
    assert repeated_items(["a", "b"]) == (0, 0)
    assert repeated_items([]) == (0, 0)


def test_top_ngram() -> None:
    # (aa b) twice, 6 of the 7 characters.
    assert top_ngram(["aa", "b", "aa", "b", "c"], 2) == pytest.approx(6 / 7)
    assert top_ngram(["a", "b", "c", "d"], 2) == 0
    assert top_ngram(["a"], 2) == 0
    assert top_ngram(["a", "a", "a", "a"], 2) == 1  # three overlapping ones: never over 1
    # (a b) and (ccc d) are both there twice: the longer one counts.
    assert top_ngram(
        ["a", "b", "x", "a", "b", "y", "ccc", "d", "z", "ccc", "d"], 2
    ) == pytest.approx(8 / 15)


def test_repeated_ngrams_counts_each_character_once() -> None:
    assert repeated_ngrams(["a", "b", "c", "a", "b", "d"], 2) == pytest.approx(2 / 6)
    # "a b c" again: (a b) and (b c) overlap in b; 3 of 7.
    assert repeated_ngrams(["a", "b", "c", "x", "a", "b", "c"], 2) == pytest.approx(3 / 7)
    assert repeated_ngrams(["a", "a", "a", "a"], 2) == pytest.approx(3 / 4)
    assert repeated_ngrams([], 2) == 0


def test_limits_are_inclusive_and_named() -> None:
    """C-40's kin: a share that equals its limit is within it."""
    off = {"top": {}, "repeated": {}, "line_characters": 1, "paragraph_characters": 1}
    lines = ["x", "x", "y"]

    def found(limit: float) -> list[str]:
        rules = RepetitionSettings.model_validate({**off, "lines": limit})
        return list(findings(lines, ["p"], lines, 1, rules))

    assert found(1 / 3) == []
    assert found(0.33) == ["repeated lines: 0.33 over 0.33"]


def test_the_scale_stretches_the_table() -> None:
    """Chinese: four characters for two words."""
    rules = RepetitionSettings(top={2: 0.5}, repeated={})
    units = list("天地玄黄天地玄黄")
    assert list(findings([], [], units, 2, rules)) == ["most frequent 4-gram: 1.00 over 0.5"]
    assert list(findings([], [], list("天地天地玄黄宇宙"), 2, rules)) == []
