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
    if isinstance(record, Document):
        return [record.text]
    if isinstance(record, Example | Prompt):
        return [message["content"] for message in record.messages]
    if isinstance(record, Preference):
        turns = [*record.prompt, *record.chosen, *record.rejected]
        return [message["content"] for message in turns]
    if isinstance(record, Feedback):
        return [message["content"] for message in [*record.prompt, *record.completion]]
    if isinstance(record, Rollout):
        return [*(message["content"] for message in record.prompt), record.completion]
    raise TypeError(f"no texts known of a {type(record).__name__}")
