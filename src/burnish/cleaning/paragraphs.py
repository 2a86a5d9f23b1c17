"""Paragraphs of a document, and which document keeps one that several have."""

from __future__ import annotations

import hashlib
import re

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


class Owners:
    """Which of the documents that hold a paragraph keeps it: the longest, of these the one with the
    smallest hash, so that the order of the documents does not matter. 24 bytes a paragraph, and
    what Python needs to hold them."""

    def __init__(self, settings: ParagraphSettings) -> None:
        self.settings = settings
        self._owners: dict[int, Rank] = {}

    def add(self, text: str) -> None:
        """Offer a document; all have to be, before ``strip`` is asked."""
        rank = _rank(text)
        for part in paragraphs(text):
            key = paragraph_key(part, self.settings.words)
            if key is not None:
                self._owners[key] = min(rank, self._owners.get(key, rank))

    def strip(self, text: str) -> tuple[str, int]:
        """A document without the paragraphs that another one keeps, and how many went.

        A paragraph that stands in one document twice stays twice (the quality rules look at that).
        """
        rank, removed = _rank(text), 0
        kept: list[str] = []
        parts = _split(text)
        for part, gap in zip(parts[::2], [*parts[1::2], ""], strict=True):
            key = paragraph_key(part, self.settings.words)
            if key is not None and self._owners.get(key, rank) != rank:
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


def _rank(text: str) -> Rank:
    return -len(text), _hash(text)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
