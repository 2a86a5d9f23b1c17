"""The texts of a record, one place for everything that compares records by their words."""

from __future__ import annotations

import re

from burnish.records import Document, Example, Feedback, Preference, Prompt, Record, Rollout
from burnish.rewards.matching import CJK
from burnish.rewards.refusal import plain

_WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")


def words(text: str) -> list[str]:
    """Words for comparing: NFKC, case folded, no punctuation; a Chinese character is a word."""
    return _WORD.findall(plain(text).casefold())


def texts_of(record: Record) -> list[str]:
    """Every text of a record that training on it would show to the model, one a turn."""
    return [text for _, text in turns_of(record)]


def turns_of(record: Record) -> list[tuple[str, str]]:
    """A record's texts, each with what it is: ``user``, ``assistant``, ``chosen``, ``text`` ..."""
    if isinstance(record, Document):
        return [("text", record.text)]
    if isinstance(record, Example | Prompt):
        return [(turn["role"], turn["content"]) for turn in record.messages]
    if isinstance(record, Preference | Feedback | Rollout):
        said = [(turn["role"], turn["content"]) for turn in record.prompt]
        if isinstance(record, Rollout):
            return [*said, ("completion", record.completion)]
        sides = ("chosen", "rejected") if isinstance(record, Preference) else ("completion",)
        return said + [(side, turn["content"]) for side in sides for turn in getattr(record, side)]
    raise TypeError(f"no texts known of a {type(record).__name__}")
