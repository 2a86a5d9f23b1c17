"""The same task in another shape: other words, the other language, with something beside the point.

A varied prompt is of its parent's group, so that both go to one side of any split.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from burnish.records import Example, Language, Message, Prompt, content_id
from burnish.selection.texts import words
from burnish.selection.writing.ask import Ask, question
from burnish.selection.writing.replies import Refused, check_instruction

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ASKS = re.compile(r"[?？]")


def ask_paraphrase(
    origin: Prompt | Example, number: int, draw: random.Random, pool: Sequence[str]
) -> Ask:
    """The same request in other words."""
    data = {"REQUEST": (question(origin),)}
    return Ask("paraphrase", origin.lang, data, ("instruction",), origin, distinct=False)


def paraphrased(ask: Ask, found: dict[str, str]) -> Prompt | Example:
    """The parent with its last question reworded; every number of it must still be there."""
    text, before = ask.instruction(found), question(ask.origin)
    if words(text) == words(before):
        raise Refused("barely changed")
    _keeps_numbers(before, text)
    return _varied(ask.origin, "paraphrase", text)


def ask_language(origin: Prompt, number: int, draw: random.Random, pool: Sequence[str]) -> Ask:
    """The same request in the other language; the form is in the parent's."""
    lang: Language = "en" if origin.lang == "zh" else "zh"
    data = {"REQUEST": (question(origin),)}
    keys = ("instruction",)
    return Ask("language", lang, data, keys, origin, asked_in=origin.lang, distinct=False)


def translated(ask: Ask, found: dict[str, str]) -> Prompt | Example:
    """The request alone, in the other language.

    A verifier that looks for words (an answer, a format) is left out, for they are of the parent's
    language; a number stays right.
    """
    text, origin = ask.instruction(found), ask.origin
    _keeps_numbers(question(origin), text)
    kind = (origin.verify or {}).get("kind")
    verify = None if kind in ("answer", "format") else origin.verify
    one = replace(origin, lang=ask.lang, verify=verify, messages=origin.messages[-1:])
    return _varied(one, "language", text)


def ask_distractor(
    origin: Prompt | Example, number: int, draw: random.Random, pool: Sequence[str]
) -> Ask:
    """A sentence beside the point."""
    data = {"REQUEST": (question(origin),)}
    return Ask("distractors", origin.lang, data, ("sentence",), origin, distinct=False)


def distracted(ask: Ask, found: dict[str, str]) -> Prompt | Example:
    """The sentence, then the request word for word (arXiv 2302.00093: irrelevant context).

    Where the request has a known answer, the sentence must not hold it.
    """
    sentence, before = found["sentence"], question(ask.origin)
    check_instruction(sentence, ask.lang, ask.data)
    if _ASKS.search(sentence):
        raise Refused("the sentence asks something")
    verify = getattr(ask.origin, "verify", None) or {}
    answers = verify.get("answers", [verify["answer"]] if "answer" in verify else [])
    said = f" {' '.join(words(sentence))} "
    if any(f" {' '.join(words(str(answer)))} " in said for answer in answers):
        raise Refused("the sentence gives the answer away")
    gap = "" if ask.lang == "zh" else " "
    return _varied(ask.origin, "distractors", f"{sentence}{gap}{before}")


def _keeps_numbers(before: str, after: str) -> None:
    if Counter(_NUMBER.findall(before)) - Counter(_NUMBER.findall(after)):
        raise Refused("a number is missing")


def _varied(origin: Prompt | Example, method: str, text: str) -> Prompt | Example:
    """``origin`` with its last user turn replaced; later turns and the verifier stay."""
    last = max(i for i, turn in enumerate(origin.messages) if turn["role"] == "user")
    changed: Message = {"role": "user", "content": text}
    made = replace(
        origin,
        id=content_id(method, origin.id, text),
        source=f"{method}:{origin.source}",
        synthetic=True,
        tier="bulk",
        parents=(*origin.parents, origin.id),
        messages=[*origin.messages[:last], changed, *origin.messages[last + 1 :]],
    )
    return replace(made, group=made.group or origin.id) if isinstance(made, Prompt) else made
