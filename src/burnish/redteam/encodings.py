"""Texts in disguise: pure functions that a reader, or a model, can undo."""

from __future__ import annotations

import base64
import codecs
import re
from collections.abc import Callable
from typing import Literal

from burnish.records import Language

Code = Literal["base64", "rot13", "leetspeak", "spacing", "reversal"]
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_LEADS_EN = re.compile(
    r"^(?:please\s+)?(?:(?:can|could|would) you\s+)?(?:please\s+)?"
    r"(?:(?:explain|describe|show|tell|teach|outline|detail)(?: (?:me|to me|us))?\s+)?"
    r"(?:(?:give|provide|offer|write)(?: me)? [\w\s-]{0,40}?(?:instructions|guidance|steps|advice)"
    r"(?: (?:for|on))?\s+)?"
    r"how\s+(?:to|(?:do|can|could|should|would) (?:i|you|we|someone|one))\s+",
    re.IGNORECASE,
)
_LEADS_ZH = re.compile(
    r"^(?:请问|请你|请|麻烦你?|你能)?(?:告诉我|教我|给我|帮我|解释|说明|介绍)?(?:一下)?(?:我)?"
    r"(?:应该|该|要|可以)?(?:如何|怎么样|怎么|怎样)?(?:才能)?"
)


def encode(code: Code, text: str) -> str:
    """``text`` in base64 (of UTF-8), rot13, with digits for letters, letters apart, or reversed."""
    return _ENCODERS[code](text)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


_ENCODERS: dict[Code, Callable[[str], str]] = {
    "base64": _base64,
    "rot13": _rot13,
    "leetspeak": lambda text: text.translate(_LEET),
    "spacing": " ".join,
    "reversal": lambda text: text[::-1],
}


def deed(text: str, lang: Language) -> str:
    """What a request asks for, to stand inside a sentence: "How do I X?" becomes "x".

    A request that gives an order ("Write a letter") is one already, but for its capital letter.
    """
    bare = text.strip().rstrip(".?!。？！").strip()
    if lang == "zh":
        return _LEADS_ZH.sub("", bare, count=1) or bare
    found = _LEADS_EN.sub("", bare, count=1) or bare
    second = found[1:2]
    return found if second.isupper() else found[:1].lower() + found[1:]
