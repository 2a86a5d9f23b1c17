"""Paragraphs of a document, and which document keeps one that several have."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container

from pydantic import PositiveInt

from burnish.config import Settings

_BLANK = re.compile(r"(\n[ \t]*(?:\n[ \t]*)+)")
_LINE = re.compile(r"(\n)")
_WORD = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3400-\u4dbf\u4e00-\u9fff]+")

Rank = tuple[int, int]


class ParagraphSettings(Settings):
    """Paragraphs of ``words`` words at least are compared; a Chinese character is a word. Shorter
    ones (headings, "Yes, of course.") stand in many documents without being copies."""

    words: PositiveInt = 13


def rank(text: str) -> Rank:
    """Of the documents that hold a paragraph the one with the least rank keeps it: the longest, of
    these the one with the smallest hash, so that the order of the documents does not matter."""
    return -len(text), _hash(text)


def paragraph_keys(text: str, settings: ParagraphSettings) -> set[int]:
    """The keys of those paragraphs of a document that are compared."""
    found = (paragraph_key(part, settings.words) for part in paragraphs(text))
    return {key for key in found if key is not None}


def strip_paragraphs(
    text: str, elsewhere: Container[int], settings: ParagraphSettings
) -> tuple[str, int]:
    """A document without the paragraphs that another one keeps, and how many went.

    A paragraph that stands in one document twice stays twice (the quality rules look at that).

    Args:
        elsewhere: keys of the paragraphs that others keep.
    """
    removed = 0
    kept: list[str] = []
    parts = _split(text)
    for part, gap in zip(parts[::2], [*parts[1::2], ""], strict=True):
        if paragraph_key(part, settings.words) in elsewhere:
            removed += 1
        else:
            kept += [part, gap]
    return ("".join(kept).strip("\n") if removed else text), removed


def paragraphs(text: str) -> list[str]:
    """What stands between blank lines; in a text without blank lines, its lines."""
    return [part for part in _split(text)[::2] if part.strip()]


def paragraph_key(part: str, least: int) -> int | None:
    """A 64-bit hash of a paragraph's words, but for case and punctuation; None under ``least``."""
    words = _WORD.findall(part.casefold())
    return None if len(words) < least else _hash(" ".join(words))


def _split(text: str) -> list[str]:
    """Paragraphs and the gaps between them, in turns."""
    return (_BLANK if _BLANK.search(text) else _LINE).split(text)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
