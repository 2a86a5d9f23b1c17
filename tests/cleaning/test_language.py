from __future__ import annotations

import sys

import pytest

from burnish.cleaning.language import LanguageSettings, identifier
from burnish.config import InputError

TEXTS = {
    "en": "The river flows through the old town and then turns to the sea.",
    "zh": "长江是中国最长的河流，也是亚洲的第一长河。",
    "ja": "これは日本語の文章です。東京都に住んでいます。",
    "de": "Der Fluss fließt durch die alte Stadt und dann ins Meer.",
    "ru": "Река течёт через старый город и впадает в море.",
    "none": "12 + 30 = 42",
}


def test_languages_are_told_apart() -> None:
    identify = identifier(LanguageSettings())
    assert {code: identify(text) for code, text in TEXTS.items()} == {c: c for c in TEXTS}


def test_classical_chinese_is_chinese() -> None:
    assert (
        identifier(LanguageSettings())("床前明月光，疑是地上霜。举头望明月，低头思故乡。") == "zh"
    )


def test_only_candidates_are_found_and_only_the_beginning_is_read() -> None:
    few = identifier(LanguageSettings(candidates=["en", "zh"]))
    assert few(TEXTS["de"]) == "en"
    short = identifier(LanguageSettings(characters=len(TEXTS["de"])))
    assert short(TEXTS["de"] + TEXTS["en"] * 9) == "de"


def test_bad_candidates_are_named() -> None:
    with pytest.raises(InputError, match=r"language\.candidates: without zh"):
        identifier(LanguageSettings(candidates=["en", "de"]))
    with pytest.raises(InputError, match=r"found xx; some of af, "):
        identifier(LanguageSettings(candidates=["en", "zh", "xx"]))


def test_without_lingua_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lingua", None)
    with pytest.raises(InputError, match=r'lingua.*pip install "burnish\[data\]"'):
        identifier(LanguageSettings(candidates=["en", "zh", "sq"]))
