"""Does a reply state this answer, and nothing else? Exact rules that are hard to game.

A reply states an answer when, after normalising (NFKC, case, punctuation, articles), it

1. *equals* the answer: ``Paris.``, ``the Ivory Coast``, ``巴黎。``; or
2. is one short sentence with a single claim whose slot holds the answer: ``The capital of France
   is Paris.``, ``Paris is the capital of France.``, ``Answer: Paris``, ``法国的首都是巴黎。``.
   The claim is one copula (is, was, 是, 为 ...). Around it stands a carrier of at most
   ``CARRIER_WORDS`` words; where the question is known, each of them must come from the question
   or from a short list of function words, so that no second candidate can hide there.

Anything else is wrong: lists of candidates, ``or``, negation, a question back, two sentences, a
second claim. Text is compared by words; a Chinese character is a word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from burnish.rewards.refusal import plain, sentences

CARRIER_WORDS = 20
CJK = "\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"

_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_WORD = re.compile(rf"(?<!\S)-\d+(?:\.\d+)*(?![^\W_])|\d+(?:\.\d+)+|[{CJK}]|[^\W_{CJK}]+")
_NUMBER = re.compile(r"(?:(?<![\w)\].])-)?\d+(?:\.\d+)?")
_BOXED = re.compile(r"\\boxed\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|no|without|except)\b|n't\b|不|并非|没有|除了", re.I
)
_CHOICE = re.compile(r"\bor\b|\beither\b|或|还是|[;/|\n、;]", re.I)
_ARTICLES = {"a", "an", "the"}
_ASKING = {"what", "which", "who", "whose", "where", "when", "how", "why", "谁", "哪", "几", "吗"}
# The verb of a claim. At most one may stand around an answer.
_COPULAS = {"is", "are", "was", "were", "equals", "lies", "belongs", "has", "是", "为", "叫", "自"}
# May stand between the copula and the answer: "is called Au", "is in Asia", "是在亚洲".
_BRIDGE = {"in", "of", "by", "at", "on", "called", "named", "known", "as", "to", "about", "city"}
_BRIDGE |= {"continent", "located", "found", "written", "its", "capital", "part", "country"}
_BRIDGE |= _ARTICLES | {"atomic", "number", "symbol"} | set("由在于作做位")
_FUNCTION = _BRIDGE | {"it", "its", "that", "this", "he", "she", "they", "there", "s"}
_FUNCTION |= {"answer", "correct", "right", "for", "with", "i", "think", "believe", "say", "said"}
_FUNCTION |= {"place", "name", "word", "their", "his", "her", "from"}
_FUNCTION |= set("答案它他她的其这那个就该我想认")
# "《静夜思》是李白写的": what may follow an answer that is the agent of a Chinese sentence.
_AGENT_TAILS = (["写", "的"], ["所", "写"], ["作", "的"], ["所", "作"])


@dataclass(frozen=True)
class Word:
    """A normalised word and where it stands in the text, ``text[start:end]``."""

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Match:
    """Whether the answer is stated, and why or why not (for reports)."""

    found: bool
    reason: str


def prepare(text: str) -> str:
    """NFKC with plain quotes and minus signs, and without commas inside numbers (1,000)."""
    return _GROUPED.sub("", plain(text)).strip()


def words_of(prepared: str) -> list[Word]:
    """The words of a prepared text, without an article before its first word.

    Before a single sign it is no article but a letter: "a c b" keeps its a.
    """
    found = [Word(m.group().casefold(), m.start(), m.end()) for m in _WORD.finditer(prepared)]
    leads = len(found) > 1 and found[0].text in _ARTICLES and len(found[1].text) > 1
    return found[1:] if leads else found


def normalise(text: str) -> str:
    """The form in which a reply and an answer are equal: words joined by one space."""
    return " ".join(word.text for word in words_of(prepare(text)))


def match_answer(answers: Sequence[str], reply: str, question: str = "") -> Match:
    """Whether ``reply`` states one of ``answers`` by the rules above.

    Args:
        answers: accepted forms of the one right answer.
        question: the user's last turn; where given, the carrier's words are checked against it.
    """
    text = prepare(reply)
    words = words_of(text)
    if not words:
        return Match(False, "empty reply")
    said = [word.text for word in words]
    targets = [normalise(answer).split() for answer in answers]
    targets = sorted((target for target in targets if target), key=len, reverse=True)
    if said in targets:
        return Match(True, "equals the answer")
    given = [target for target in targets if _find(said, target)]
    if not given:
        return Match(False, "answer not given")
    asked = {_stem(word.text) for word in words_of(prepare(question))}
    reasons = [_stated(text, words, target, asked) for target in given]
    return next((m for m in reasons if m.found), reasons[0])


def _stated(text: str, words: list[Word], target: list[str], asked: set[str]) -> Match:
    if len(sentences(text)) > 1:
        return Match(False, "more than one sentence")
    if [word.text for word in words[-2:]] in _AGENT_TAILS:
        words = words[:-2]
    said = [word.text for word in words]
    if said == target:
        return Match(True, "equals the answer")
    ends = said[-len(target) :] == target
    starts = said[: len(target)] == target
    reason = "the answer is neither the first nor the last thing said"
    if ends:
        cut = words[-len(target)].start
        reason = _bad_carrier(text[:cut], words[: -len(target)], asked)
        if not reason and (_labelled(text[:cut]) or _claim_before(said[: -len(target)])):
            return Match(True, "answer at the end of one claim")
    if starts:
        cut = words[len(target) - 1].end
        rest = words[len(target) :]
        reason = _bad_carrier(text[cut:], rest, asked)
        if not reason and rest[0].text in _COPULAS:
            return Match(True, "answer at the start of one claim")
    return Match(False, reason or "the answer is not in the slot of a claim")


def _bad_carrier(text: str, words: list[Word], asked: set[str]) -> str:
    """Why the text around an answer is not a carrier; empty when it is one."""
    spoken = [word.text for word in words]
    if len(spoken) > CARRIER_WORDS:
        return "too much text around the answer"
    if text.rstrip().endswith("?") or _ASKING.intersection(spoken):
        return "a question, not an answer"
    if _CHOICE.search(text):
        return "offers a choice"
    if not asked and "," in text:
        return "offers a list"
    if any(_stem(word) not in asked for word in _NEGATION.findall(text.casefold())):
        return "negated"
    if sum(word in _COPULAS for word in spoken) > 1:
        return "more than one claim"
    known = asked | {_stem(word) for word in _FUNCTION | _COPULAS}
    if asked and not all(_stem(word) in known for word in spoken):
        return "other content beside the answer"
    return ""


def _labelled(carrier: str) -> bool:
    """``Answer:``, ``答案:``, ``A:`` or the one ``=`` of a sum before the answer."""
    if carrier.rstrip().endswith("=") and carrier.count("=") == 1:
        return True
    head = re.fullmatch(
        r"\s*(?:the |my )?(?:final )?(?:answer|a|答案|答)\s*[::=]\s*", carrier, re.I
    )
    return head is not None


def _claim_before(carrier: list[str]) -> bool:
    """Whether the carrier ends in a copula, but for a few bridging words."""
    for word in reversed(carrier):
        if word in _COPULAS:
            return True
        if word not in _BRIDGE:
            return False
    return False


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") else word


def _find(said: list[str], target: list[str]) -> bool:
    width = len(target)
    return any(said[i : i + width] == target for i in range(len(said) - width + 1))


def match_number(answer: float | int | str, reply: str) -> Match:
    """Whether ``reply`` gives exactly this number.

    Right when it is the only number of the reply, or the last thing said after the only ``=``,
    ``is``, ``equals``, ``是``, ``等于`` or ``得`` (``12 + 30 = 42``, ``12 加 30 等于 42。``). No
    exponents and no fractions: only plain digits are read.

    A reply with ``\\boxed{42}`` may say what it likes before its one box; what is in the box
    counts, and a second box makes it wrong.
    """
    text = prepare(reply)
    if "\\boxed" in text:
        return _match_boxed(answer, text)
    numbers = list(_NUMBER.finditer(text))
    if not numbers:
        return Match(False, "no number in the reply")
    last = numbers[-1]
    if any(word.text for word in words_of(text[last.end() :])) and len(numbers) > 1:
        return Match(False, "text after the last number")
    if re.match(r"[eE^*]|\.\d|\s*/\s*\d|!", text[last.end() :]):
        return Match(False, "not a plain number")
    if len(words_of(text)) > 2 * CARRIER_WORDS:
        return Match(False, "too long")
    if len(numbers) == 1 and _NEGATION.search(text):
        return Match(False, "negated")
    if len(numbers) > 1:
        claims = re.findall(r"=|\bis\b|\bequals\b|等于|是|得", text)
        before = text[: last.start()].rstrip()
        if len(claims) != 1 or not re.search(r"(=|\bis|\bequals|等于|是|得)$", before):
            return Match(False, "several numbers and no single claim")
    right = _same_number(last.group(), str(answer))
    return Match(right, "equals the number" if right else f"says {last.group()}"[:80])


def _match_boxed(answer: float | int | str, text: str) -> Match:
    boxes = list(_BOXED.finditer(text))
    if len(boxes) != 1 or text.count("\\boxed") != 1:
        return Match(False, "several boxes" if boxes else "a broken box")
    if _NUMBER.search(text[boxes[0].end() :]):
        return Match(False, "a number after the box")
    found = boxes[0].group(1).strip(" $")
    right = _NUMBER.fullmatch(found) is not None and _same_number(found, str(answer))
    return Match(right, "the box holds the number" if right else f"the box holds {found}"[:80])


def _same_number(found: str, expected: str) -> bool:
    try:
        return Decimal(found) == Decimal(expected)
    except InvalidOperation:
        return False
