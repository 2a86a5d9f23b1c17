"""From a writer's reply to the texts asked for: strict, with a reason for each that is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence

from burnish.records import Language
from burnish.rewards.refusal import is_refusal
from burnish.selection.texts import words
from burnish.store.rows import detect_language

LEAST_WORDS, MOST_WORDS = 3, 300
_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n\s*```", re.DOTALL)
_FORM = re.compile(
    r"\b(?:given|new|rewritten|original) (?:request|prompt|instruction)\b|(?:改写后|新|原)的?指令",
    re.I,
)
_PLACEHOLDER = re.compile(r"[.…\s]*")


class Refused(Exception):
    """A reply that is of no use; the text says why, alike for alike reasons."""


def fields(reply: str, keys: Sequence[str], finish: str) -> dict[str, str]:
    """The texts of a reply that is one JSON object with exactly these keys, fenced or not.

    Raises:
        Refused: anything else.
    """
    text = reply.strip()
    fence = _FENCE.fullmatch(text)
    try:
        found = json.loads(fence[1] if fence else text)
    except (ValueError, RecursionError):
        if is_refusal(text):
            raise Refused("declined to write") from None
        raise Refused("cut off" if finish == "length" else "not the JSON asked for") from None
    if not isinstance(found, dict) or found.keys() != set(keys):
        raise Refused("not the JSON asked for")
    if not all(isinstance(found[key], str) for key in keys):
        raise Refused("not the JSON asked for")
    if any(_PLACEHOLDER.fullmatch(found[key]) for key in keys):
        raise Refused("an empty text")
    return {key: found[key].strip() for key in keys}


def check_instruction(text: str, lang: Language, labels: Collection[str] = ()) -> None:
    """What any instruction must be: of a length, in its language, a request and not a refusal.

    The bounds follow Self-Instruct (arXiv 2212.10560, section 2.2: too short, too long, beginning
    with punctuation); that it does not quote the form is a rule of WizardLM (arXiv 2304.12244,
    section 3.2, elimination evolving).

    Args:
        labels: what the form calls its data, such as ``REQUEST``.

    Raises:
        Refused: it is not.
    """
    if not LEAST_WORDS <= len(words(text)) <= MOST_WORDS:
        raise Refused("too short or too long")
    if _FORM.search(text) or any(re.search(rf"\b{label}\b", text) for label in labels):
        raise Refused("repeats the form it was asked with")
    if is_refusal(text):
        raise Refused("declined to write")
    if detect_language(text) != lang:
        raise Refused("another language")
