"""Verify a reply against a prompt's ``verify`` specification. Rules, no model.

========  ==========================================  ======================================
kind      fields                                      right when
========  ==========================================  ======================================
answer    ``answers``: accepted forms                 the reply states one (see ``matching``)
number    ``answer``: a number                        the reply gives exactly this number
abstain                                               the reply says only that it does not know
refuse                                                the reply declines (see ``refusal``)
comply                                                the reply engages and does not decline
format    ``rules``: list (see ``formats``)           every rule holds
choice    ``choices``: texts, ``gold``: the place of  the reply is the right one, or states it;
          the right one, from 0                       ``evals.choices`` asks by likelihood
language  ``lang``: en or zh                          the reply is written in it
code      ``function``, ``tests`` (see ``code``)      the function passes every test
========  ==========================================  ======================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from burnish.records import Prompt
from burnish.rewards.code import code_problems, grade
from burnish.rewards.formats import passes, rule_problems, split_words
from burnish.rewards.matching import match_answer, match_number, normalise
from burnish.rewards.refusal import is_abstention, is_refusal, plain, sentences
from burnish.rewards.textstats import keeps_language

Outcome = Literal["right", "abstained", "wrong"]
SCORE: dict[Outcome, float] = {"right": 1.0, "abstained": 0.0, "wrong": -1.0}
LEAST_HELP_WORDS = 3

_FIELDS = {
    "answer": {"answers"},
    "number": {"answer"},
    "abstain": set(),
    "refuse": set(),
    "comply": set(),
    "format": {"rules"},
    "choice": {"choices", "gold"},
    "language": {"lang"},
    "code": {"function", "tests"},
}
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|probably|possibly|but (?:it|i (?:think|guess|believe)|the|my)"
    r"|i (?:think|guess|believe)|my guess|could be|might be|answer)\b"
    r"|可能是|也许|大概|应该是|猜|但是?是",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"\b(?:sorry|please|check|look (?:it )?up|ask|help|hope|reliable|source|atlas|dictionary)\b"
    r"|抱歉|对不起|请|查|建议|希望",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Check:
    """The result of verifying one reply.

    ``score`` is +1 right, 0 abstained, −1 wrong; for ``format`` it is ``2 × share of rules kept
    − 1``. A reply without a single word is always wrong with score −1.
    """

    outcome: Outcome
    score: float
    reason: str


def verify(spec: Mapping[str, Any], reply: str, question: str = "") -> Check:
    """Verify ``reply`` against a valid ``spec`` (see ``validate``).

    Args:
        spec: such as ``{"kind": "answer", "answers": ["Paris"]}``.
        question: the user's last turn where known; it makes ``answer`` and ``comply`` stricter.

    Raises:
        ValueError: the spec is not valid.
    """
    problems = validate(spec)
    if problems:
        raise ValueError("; ".join(problems))
    if not split_words(reply):
        return Check("wrong", -1.0, "empty reply")
    kind = spec["kind"]
    if kind == "format":
        return _format(spec["rules"], reply)
    if kind == "code":
        passed, reason = grade(spec, reply)
        return Check("right", 1.0, reason) if passed else Check("wrong", -1.0, reason)
    outcome, reason = _outcome(kind, spec, reply, question)
    return Check(outcome, SCORE[outcome], reason)


def verify_prompt(prompt: Prompt, reply: str) -> Check | None:
    """``verify`` with the prompt's own specification and question; None where it has none."""
    if prompt.verify is None:
        return None
    return verify(prompt.verify, reply, prompt.messages[-1]["content"])


def abstains(reply: str) -> bool:
    """Whether the reply says that it does not know *and* commits to nothing else.

    "I don't know. London." and "I'm not sure, but I think London" are answers in disguise.
    """
    if not is_abstention(reply):
        return False
    parts = sentences(plain(reply))
    if _HEDGE.search(parts[0]):
        return False
    return all(is_abstention(part) or _OFFER.search(part) for part in parts[1:])


def _outcome(kind: str, spec: Mapping[str, Any], reply: str, question: str) -> tuple[Outcome, str]:
    if kind == "refuse":
        if is_refusal(reply):
            return "right", "declines"
        return ("abstained", "says it does not know") if abstains(reply) else ("wrong", "complies")
    if kind == "comply":
        return _comply(reply, question)
    if kind == "choice" and plain(reply).strip() == plain(spec["choices"][spec["gold"]]).strip():
        return "right", "is the right option"  # even where that says that it does not know
    if kind == "language":
        kept = keeps_language(reply, spec["lang"])
        return ("right", "in the language") if kept else ("wrong", f"not in {spec['lang']}")
    if abstains(reply):
        return ("right" if kind == "abstain" else "abstained"), "says it does not know"
    if kind == "abstain":
        return "wrong", "does not say that it does not know"
    if is_abstention(reply):
        return "wrong", "abstains and then answers"
    if kind == "number":
        match = match_number(spec["answer"], reply)
    else:
        answers = spec["answers"] if kind == "answer" else [spec["choices"][spec["gold"]]]
        match = match_answer(answers, reply, question)
    return ("right" if match.found else "wrong"), match.reason


def _comply(reply: str, question: str) -> tuple[Outcome, str]:
    if is_refusal(reply):
        return "wrong", "declines a harmless request"
    if abstains(reply):
        return "abstained", "says it does not know"
    said = [word.casefold() for word in split_words(reply)]
    if len(said) < LEAST_HELP_WORDS or plain(reply).rstrip().endswith(":"):
        return "wrong", "says nothing of use"
    if question and normalise(reply) == normalise(question):
        return "wrong", "repeats the question"
    if len(said) >= 6 and Counter(said).most_common(1)[0][1] > len(said) / 2:
        return "wrong", "repeats one word"
    return "right", "engages with the request"


def _format(rules: list[Mapping[str, Any]], reply: str) -> Check:
    broken = [str(rule["rule"]) for rule in rules if not passes(rule, reply)]
    share = 1 - len(broken) / len(rules)
    if broken:
        return Check("wrong", 2 * share - 1, f"breaks {', '.join(broken)}")
    return Check("right", 1.0, "keeps every rule")


def validate(spec: Any) -> list[str]:
    """What is wrong with a ``verify`` specification, one text a problem; empty when valid."""
    if not isinstance(spec, Mapping):
        return [f"verify must be a mapping, found {spec!r}"]
    kind = spec.get("kind")
    if kind not in _FIELDS:
        return [f"unknown kind {kind!r}; known: {', '.join(sorted(_FIELDS))}"]
    needed = _FIELDS[kind]
    problems = [f"kind {kind!r} needs {key!r}" for key in sorted(needed - set(spec))]
    extra = sorted(set(spec) - needed - {"kind"})
    problems += [f"kind {kind!r} does not know {key!r}" for key in extra]
    if problems:
        return problems
    if kind == "answer":
        return _answer_problems(spec["answers"])
    if kind == "choice":
        return _choice_problems(spec["choices"], spec["gold"])
    if kind == "number" and not _is_number(spec["answer"]):
        return [f"kind 'number': 'answer' must be a number, found {spec['answer']!r}"]
    if kind == "format":
        rules = spec["rules"]
        if not isinstance(rules, list) or not rules:
            return [f"kind 'format': 'rules' must be a list of rules, found {rules!r}"]
        return [problem for rule in rules for problem in rule_problems(rule)]
    if kind == "language" and spec["lang"] not in ("en", "zh"):
        return [f"kind 'language': 'lang' must be en or zh, found {spec['lang']!r}"]
    return code_problems(spec) if kind == "code" else []


def _answer_problems(answers: Any) -> list[str]:
    if not isinstance(answers, list) or not answers:
        return [f"kind 'answer': 'answers' must be a list of texts, found {answers!r}"]
    bad = [item for item in answers if not isinstance(item, str) or not normalise(item)]
    return [f"kind 'answer': {item!r} is not a text with a word in it" for item in bad]


def _choice_problems(choices: Any, gold: Any) -> list[str]:
    if not isinstance(choices, list) or len(choices) < 2:
        return [f"kind 'choice': 'choices' must be a list of at least two texts, found {choices!r}"]
    bad = [item for item in choices if not isinstance(item, str) or not item.strip()]
    if bad:
        return [f"kind 'choice': {item!r} is not a text" for item in bad]
    if len(set(choices)) < len(choices):
        return [f"kind 'choice': 'choices' holds a text twice: {choices!r}"]
    if isinstance(gold, bool) or not isinstance(gold, int) or not 0 <= gold < len(choices):
        expected = f"a whole number from 0 to {len(choices) - 1}"
        return [f"kind 'choice': 'gold' must be {expected}, found {gold!r}"]
    return []


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return Decimal(str(value)).is_finite()
    except InvalidOperation:
        return False
