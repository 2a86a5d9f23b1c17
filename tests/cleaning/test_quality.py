from __future__ import annotations

from pathlib import Path

import pytest

from burnish.cleaning.quality import QualitySettings, flaw, read_words, word_pattern
from burnish.config import InputError

# 60 different words of four letters, the stop words in between.
NAMES = [a + b + "xy" for a in "bcdfghjk" for b in "aeiou"]
PROSE = " ".join(f"the {name} of" if i % 4 == 0 else name for i, name in enumerate(NAMES)) + "."
ZH = (
    "长江是中国最长的河流，也是亚洲的第一长河。它发源于青藏高原，流经十一个省区，最后在上海注入东海。"
    "人们在江边生活了几千年，这里有许多古老的城市。江上的船只来往不断，把货物运到各地，对经济很重要。"
)


def only(**rules: object) -> QualitySettings:
    """All rules off but these."""
    off = {"en": None, "zh": None, "lines": None, "repetition": None, "braces": 1}
    return QualitySettings.model_validate({**off, **rules})


def en(**rule: object) -> QualitySettings:
    wide = {"words": (0, 1e9), "word_length": (0, 99), "symbols": 99, "alphabetic": 0}
    return only(en={**wide, "stop_words": 0, "stop_share": 0, **rule})


def zh(**rule: object) -> QualitySettings:
    wide = {"characters": (0, 1e9), "line_length": 0, "han": 0, "marks": (0, 1), "symbols": 1}
    return only(zh={**wide, "stop_characters": 0, "stop_share": 0, **rule})


def test_good_texts_pass_with_the_defaults() -> None:
    assert flaw(PROSE, "en", QualitySettings()) == ""
    assert flaw(ZH, "zh", QualitySettings()) == ""


@pytest.mark.parametrize(
    ("text", "rules", "reason"),
    [
        ("a b c", en(words=(4, 9)), "words: 3 under 4"),
        ("a b c", en(words=(1, 2)), "words: 3 over 2"),
        ("ab abcd", en(word_length=(3.5, 9)), "word length: 3 under 3.5"),
        ("a # b ... c", en(symbols=0.3), "symbols a word: 0.4 over 0.3"),
        ("a 1 2 3", en(alphabetic=0.5), "words with a letter: 0.25 under 0.5"),
        ("The end, of. it", en(stop_words=3), "stop words: 2 under 3"),
        ("the x y z", en(stop_share=0.3), "share of stop words: 0.25 under 0.3"),
        ("- a\n- b\nc", only(lines={"bullets": 0.5}), "lines with a bullet: 0.6667 over 0.5"),
        ("a...\nb…\nc.", only(lines={"ellipses": 0.5}), "lines with an ellipsis: 0.6667 over 0.5"),
        ("{a}", only(braces=0.5), "braces: 0.6667 over 0.5"),
        ("Lorem  Ipsum? lorem ipsum dolor", only(), "lorem ipsum"),
    ],
)
def test_english_rules(text: str, rules: QualitySettings, reason: str) -> None:
    assert flaw(text, "en", rules) == reason


@pytest.mark.parametrize(
    ("text", "rules", "reason"),
    [
        ("天地 玄黄", zh(characters=(5, 9)), "characters: 4 under 5"),
        ("天\n地玄黄", zh(line_length=3), "line length: 2 under 3"),
        ("天地abcdef", zh(han=0.3), "Chinese characters: 0.25 under 0.3"),
        ("天地玄黄", zh(marks=(0.1, 1)), "punctuation: 0 under 0.1"),
        ("天，地，", zh(marks=(0, 0.4)), "punctuation: 0.5 over 0.4"),
        ("天#地", zh(symbols=0.3), "symbols: 0.3333 over 0.3"),
        ("的的的天", zh(stop_characters=2), "stop characters: 1 under 2"),
        ("的玄黄洪abc", zh(stop_share=0.3), "share of stop characters: 0.25 under 0.3"),
    ],
)
def test_chinese_rules(text: str, rules: QualitySettings, reason: str) -> None:
    assert flaw(text, "zh", rules) == reason


def test_a_measure_that_equals_its_limit_is_within_it() -> None:
    assert flaw("a b c", "en", en(words=(3, 3))) == ""
    assert flaw("a 1", "en", en(alphabetic=0.5)) == ""
    assert flaw("天地abcd", "zh", zh(han=1 / 3)) == ""


def test_fineweb_rules_count_paragraphs_not_broken_lines() -> None:
    """FineWeb removes at 0.12 ended lines itself, and at 0.67 short ones."""
    rules = only(lines={"ended": 0.5, "short": 1.01})
    assert flaw("one\ntwo.", "en", rules) == "paragraphs ended by punctuation: 0.50, not over 0.5"
    # The same lines as a paragraph of a broken text, and another: 2 of 2 ended.
    assert flaw("one\ntwo.\n\nthree\nfour.", "en", rules) == ""
    short = only(lines={"ended": -1, "short": 0.5})
    long = "x" * 30
    assert flaw(f"{long}\nabc", "en", short) == "short paragraphs: 0.50, not under 0.5"
    assert flaw(f"{long}\n{long}\nabc", "en", short) == ""
    assert flaw("abc", "en", short) == ""  # a single paragraph is not held to it


def test_each_language_has_its_own_rules() -> None:
    assert flaw("天地", "zh", en(words=(9, 99))) == ""
    assert flaw("a b", "en", zh(characters=(9, 99))) == ""
    assert flaw("x" * 29 + "\n" + "y" * 29, "zh", only(lines={"ended": -1, "short": 0.5})) == ""


def test_repetition_in_chinese_counts_a_latin_name_as_one() -> None:
    rules = only(repetition={"top": {2: 0.4}, "repeated": {}})
    text = "Debian GNU/Linux 是系统。安装 Debian GNU/Linux 很容易，用户也很多。"
    assert flaw(text, "zh", rules).startswith("most frequent 4-gram")  # Debian GNU / Linux
    assert flaw("安装 Debian 很容易。用户说 Debian 也很稳定。", "zh", rules) == ""


def test_bad_words_are_whole_words_and_chinese_ones_anywhere() -> None:
    pattern = word_pattern(["Spam", " ", "坏词"])
    assert flaw("Some SPAM.", "en", only(), pattern) == "a bad word"
    assert flaw("Spammers", "en", only(), pattern) == ""
    assert flaw("这是坏词吗", "zh", only(), pattern) == "a bad word"
    assert word_pattern(["", " "]) is None


def test_an_unreadable_word_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.txt.*one word a line"):
        read_words(tmp_path / "gone.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bad\.txt"):
        read_words(tmp_path / "bad.txt")
