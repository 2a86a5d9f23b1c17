"""Checkable constraints on the form of a reply, one small function a rule.

Words are runs of letters and digits (an apostrophe or hyphen inside belongs to the word); every
Chinese character counts as one word. ``chars`` counts letters, digits and Chinese characters,
not spaces or punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from burnish.rewards.matching import CJK
from burnish.rewards.refusal import plain

_WORD = re.compile(rf"[{CJK}]|(?:(?![{CJK}])[^\W_])+(?:['-](?:(?![{CJK}])[^\W_])+)*")
Rule = Mapping[str, Any]


def split_words(text: str) -> list[str]:
    """The words of a text as the rules count them."""
    return _WORD.findall(plain(text))


def _words(rule: Rule, reply: str) -> bool:
    return len(split_words(reply)) == int(rule["n"])


def _max_words(rule: Rule, reply: str) -> bool:
    return 1 <= len(split_words(reply)) <= int(rule["n"])


def _min_words(rule: Rule, reply: str) -> bool:
    return len(split_words(reply)) >= int(rule["n"])


def _lowercase(rule: Rule, reply: str) -> bool:
    return reply == reply.lower() and reply.lower() != reply.upper()


def _uppercase(rule: Rule, reply: str) -> bool:
    return reply == reply.upper() and reply.lower() != reply.upper()


def _starts_with(rule: Rule, reply: str) -> bool:
    return reply.lstrip().startswith(str(rule["text"]))


def _ends_with(rule: Rule, reply: str) -> bool:
    return reply.rstrip().endswith(str(rule["text"]))


def _contains(rule: Rule, reply: str) -> bool:
    """Case-insensitive; a text of letters and digits must stand as whole words."""
    wanted = plain(str(rule["text"])).casefold()
    said = plain(reply).casefold()
    if re.search(rf"[{CJK}]", wanted) or not re.fullmatch(r"\w[\w \-']*", wanted):
        return wanted in said
    return re.search(rf"(?<![^\W_]){re.escape(wanted)}(?![^\W_])", said) is not None


def _repeat_word(rule: Rule, reply: str) -> bool:
    """The reply is this text ``n`` times and nothing else but spaces and punctuation."""
    unit = [word.casefold() for word in split_words(str(rule["text"]))]
    return [word.casefold() for word in split_words(reply)] == unit * int(rule["n"])


def _no_char(rule: Rule, reply: str) -> bool:
    said = plain(reply).casefold()
    return bool(split_words(said)) and plain(str(rule["text"])).casefold() not in said


def _sorted_words(rule: Rule, reply: str) -> bool:
    """The reply is exactly the given words in ascending order (case ignored)."""
    items = sorted(plain(str(word)).casefold() for word in rule["words"])
    expected = [part for item in items for part in split_words(item)]
    return [word.casefold() for word in split_words(reply)] == expected


def _solid(reply: str) -> int:
    return sum(character.isalnum() for character in plain(reply))


def _chars(rule: Rule, reply: str) -> bool:
    return _solid(reply) == int(rule["n"])


def _min_chars(rule: Rule, reply: str) -> bool:
    return _solid(reply) >= int(rule["n"])


def _max_chars(rule: Rule, reply: str) -> bool:
    return 1 <= _solid(reply) <= int(rule["n"])


RULES: dict[str, tuple[frozenset[str], Callable[[Rule, str], bool]]] = {
    "words": (frozenset({"n"}), _words),
    "min_words": (frozenset({"n"}), _min_words),
    "max_words": (frozenset({"n"}), _max_words),
    "lowercase": (frozenset(), _lowercase),
    "uppercase": (frozenset(), _uppercase),
    "starts_with": (frozenset({"text"}), _starts_with),
    "ends_with": (frozenset({"text"}), _ends_with),
    "contains": (frozenset({"text"}), _contains),
    "repeat_word": (frozenset({"text", "n"}), _repeat_word),
    "no_char": (frozenset({"text"}), _no_char),
    "sorted_words": (frozenset({"words"}), _sorted_words),
    "chars": (frozenset({"n"}), _chars),
    "min_chars": (frozenset({"n"}), _min_chars),
    "max_chars": (frozenset({"n"}), _max_chars),
}


def passes(rule: Rule, reply: str) -> bool:
    """Whether the reply keeps this rule; the rule must be a valid one (``rule_problems``)."""
    return RULES[rule["rule"]][1](rule, reply)


def rule_problems(rule: Any) -> list[str]:
    """What is wrong with a rule's settings, one text a problem."""
    if not isinstance(rule, Mapping) or not isinstance(rule.get("rule"), str):
        return [f"a rule must be a mapping with a key 'rule', found {rule!r}"]
    name = rule["rule"]
    if name not in RULES:
        return [f"unknown rule {name!r}; known: {', '.join(sorted(RULES))}"]
    needed = RULES[name][0]
    problems = [f"rule {name!r} needs {key!r}" for key in sorted(needed - set(rule))]
    extra = sorted(set(rule) - needed - {"rule"})
    problems += [f"rule {name!r} does not know {key!r}" for key in extra]
    problems += _value_problems(rule, name)
    return problems


def _value_problems(rule: Rule, name: str) -> list[str]:
    problems = []
    count = rule.get("n")
    if "n" in rule and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
        problems.append(f"rule {name!r}: 'n' must be a whole number from 1, found {count!r}")
    text = rule.get("text")
    if "text" in rule and (not isinstance(text, str) or not text):
        problems.append(f"rule {name!r}: 'text' must be a text, found {text!r}")
    items = rule.get("words")
    if "words" in rule:
        good = isinstance(items, list) and items and all(isinstance(item, str) for item in items)
        if not good:
            problems.append(f"rule {name!r}: 'words' must be a list of texts, found {items!r}")
    return problems
