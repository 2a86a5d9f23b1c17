from __future__ import annotations

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.cleaning.normalise import NormaliseSettings, normalise
from burnish.config import InputError

PLAIN = NormaliseSettings(mojibake=False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a\r\nb\rc\u2028d\x0be", "a\nb\nc\nd\ne"),
        ("one  \t\n\n\n\n two", "one\n\n two"),
        ("e\u0301", "\u00e9"),
        ("a\u00a0b\u2009\u2009c", "a b c"),
        ("\u3000\u3000段落", "段落"),
        ("zero\u200bwidth\ufeff soft\u00adhyphen", "zerowidth softhyphen"),
        ("nul\x00 escape\x1b c1\x9f", "nul escape c1"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("ＡＢｃ１２，你好！", "ABc12，你好！"),
    ],
)
def test_one_form(before: str, after: str) -> None:
    assert normalise(before, PLAIN) == after


@pytest.mark.parametrize(
    "text",
    [
        "“quoted” ‘so’ ﬁne — naïve",
        "def f():\n\treturn  1  # two spaces",
        "全角标点，保留。（括号）：《书》",
        "👩\u200d🚀 می\u200cخواهم",
        "Für Straße, señor, 日本語, Ελλάδα",
    ],
)
def test_what_a_reader_sees_stays(text: str) -> None:
    assert normalise(text) == text


def test_mojibake_is_repaired_and_only_where_asked() -> None:
    assert normalise("donâ€™t") == "don’t"
    assert normalise("donâ€™t", PLAIN) == "donâ€™t"
    assert normalise("æˆ‘ä»¬") == "我们"


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_second_time_changes_nothing(text: str) -> None:
    once = normalise(text, PLAIN)
    assert normalise(once, PLAIN) == once


def test_without_ftfy_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ftfy", None)
    with pytest.raises(InputError, match=r'ftfy.*pip install "burnish\[data\]"'):
        normalise("é")
    assert normalise("plain") == "plain"
