"""Cheap measures of a text: repetition and language."""

from __future__ import annotations

import re
from typing import Literal

from burnish.records import Language
from burnish.rewards.formats import split_words
from burnish.rewards.matching import CJK
from burnish.rewards.refusal import plain

CHINESE_SHARE = 0.3
_CJK = re.compile(f"[{CJK}]")


def repetition(text: str) -> float:
    """The share of word 3-grams that occurred before, in [0, 1); of words in shorter texts.

    ``"go go go go"`` has the 3-grams (go go go) twice: 1/2. ``"a b c d"``: 0.
    """
    words = [word.casefold() for word in split_words(text)]
    size = 3 if len(words) > 3 else 1
    grams = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def language_of(text: str) -> Language | Literal["none"]:
    """The language of a text by its letters; "none" where it has none (a number)."""
    letters = [character for character in plain(text) if character.isalpha()]
    if not letters:
        return "none"
    chinese = sum(bool(_CJK.match(letter)) for letter in letters)
    return "zh" if chinese / len(letters) >= CHINESE_SHARE else "en"


def keeps_language(text: str, lang: Language) -> bool:
    """Whether a text is written in this language of the two, with some words of the other.

    Words are counted, a Chinese character as one: at least half of them are Chinese in a Chinese
    text, at most a tenth in an English one. Other languages in Latin letters pass as English.
    """
    words = [word for word in split_words(text) if not word.isnumeric()]
    chinese = sum(bool(_CJK.match(word)) for word in words)
    if not words:
        return False
    return 2 * chinese >= len(words) if lang == "zh" else 10 * chinese <= len(words)
