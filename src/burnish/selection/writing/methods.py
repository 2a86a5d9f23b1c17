"""The ways of making instructions: what each asks a writer for, and what it makes of the reply.

=================  =============================================================================
method             after
=================  =============================================================================
templates          topics × templates, each made concrete by the writer
self_instruct      Self-Instruct, arXiv 2212.10560, section 2.2
evolve             Evol-Instruct (WizardLM), arXiv 2304.12244, section 3.2
grounded           questions that a passage answers, with the answer and its evidence checked
back_translation   instructions for texts there are, arXiv 2308.06259, section 2.2
paraphrase, language, distractors    see ``variations``
=================  =============================================================================
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from burnish.records import Document, Example, Message, Prompt, content_id
from burnish.selection.instructions import Cell
from burnish.selection.texts import words
from burnish.selection.writing import variations
from burnish.selection.writing.ask import Ask, question
from burnish.selection.writing.pool import rouge_l
from burnish.selection.writing.replies import Refused, check_instruction

Kind = Literal["topics", "prompts", "examples", "documents"]
SHOTS = 6
EVOLUTIONS = ("constraint", "deepen", "concretise", "reasoning", "breadth")
BARELY_CHANGED = 0.9
"""ROUGE-L to the instruction it came from, from which an evolution has gained nothing."""
PASSAGE_CHARACTERS = 1200
_PART = re.compile(
    rf".{{1,{PASSAGE_CHARACTERS}}}(?:(?<=[.!?])(?=\s)|(?<=[。！？])|$)|.{{1,{PASSAGE_CHARACTERS}}}",
    re.DOTALL,
)
_REFERS = re.compile(
    r"\b(?:passage|the (?:text|article|document|excerpt)|according to (?:it|this|the))\b"
    r"|文中|本文|该文|这段|上文|短文|根据(?:材料|文章)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Method:
    """One way of making records.

    ``reads``: what it can start from. ``ask``: from one origin, its number and a source of
    randomness to what the writer is asked; all instructions there are can be shown too. ``make``:
    from the texts of a reply to a record; raises ``Refused``.
    """

    reads: tuple[Kind, ...]
    ask: Callable[[Any, int, random.Random, Sequence[str]], Ask]
    make: Callable[[Ask, dict[str, str]], Prompt | Example]


def _ask_cell(cell: Cell, number: int, draw: random.Random, pool: Sequence[str]) -> Ask:
    data = {"TOPIC": (cell.phrase,), "PATTERN": (cell.text,)}
    return Ask("templates", cell.lang, data, ("instruction",), cell)


def _from_cell(ask: Ask, found: dict[str, str]) -> Prompt:
    text = ask.instruction(found)
    cell: Cell = ask.origin
    return replace(
        cell.prompt(),
        id=content_id("written", text),
        source=f"templates:{cell.template.id}",
        messages=[{"role": "user", "content": text}],
    )


def _ask_new(seed: Prompt, number: int, draw: random.Random, pool: Sequence[str]) -> Ask:
    """One seed and others there are, seeds and new ones alike, in an order of chance."""
    own = question(seed)
    others = [text for text in draw.sample(pool, min(SHOTS, len(pool))) if text != own]
    shown = [own, *others[: SHOTS - 1]]
    draw.shuffle(shown)
    return Ask("self_instruct", seed.lang, {"EXAMPLES": tuple(shown)}, ("instruction",), seed)


def _from_seed(ask: Ask, found: dict[str, str]) -> Prompt:
    return _prompt(ask, ask.instruction(found), "self_instruct")


def _ask_evolution(seed: Prompt, number: int, draw: random.Random, pool: Sequence[str]) -> Ask:
    kind = EVOLUTIONS[number % len(EVOLUTIONS)]
    data = {"REQUEST": (question(seed),)}
    distinct = kind == "breadth"
    return Ask(f"evolve_{kind}", seed.lang, data, ("instruction",), seed, distinct=distinct)


def _evolved(ask: Ask, found: dict[str, str]) -> Prompt:
    text = ask.instruction(found)
    likeness = rouge_l(words(text), words(question(ask.origin)))
    if likeness >= BARELY_CHANGED and len(words(text)) <= len(words(question(ask.origin))) + 1:
        raise Refused("barely changed")
    return _prompt(ask, text, ask.form.replace("_", ":", 1))


def _prompt(ask: Ask, text: str, source: str) -> Prompt:
    """An instruction of its own: nothing is known of how a reply to it is verified."""
    origin: Prompt = ask.origin
    return Prompt(
        id=content_id(source, origin.id, text),
        source=source,
        lang=ask.lang,
        synthetic=True,
        parents=(origin.id,),
        messages=[{"role": "user", "content": text}],
        task=origin.task,
        topic=origin.topic,
        group=origin.group or origin.id,
        category=origin.category,
    )


def passages(document: Document) -> list[Document]:
    """A document in pieces of whole paragraphs, each of ``PASSAGE_CHARACTERS`` at most.

    A longer paragraph is cut at ends of sentences, or where there are none, anywhere.
    """
    pieces: list[str] = []
    for paragraph in re.split(r"\n\s*\n", document.text.strip()):
        for part in _PART.findall(paragraph):
            joined = f"{pieces[-1]}\n\n{part}" if pieces else part
            if pieces and len(joined) <= PASSAGE_CHARACTERS:
                pieces[-1] = joined
            else:
                pieces.append(part)
    return [replace(document, text=piece.strip()) for piece in pieces if piece.strip()]


def _ask_passage(passage: Document, number: int, draw: random.Random, pool: Sequence[str]) -> Ask:
    keys = ("question", "answer", "evidence")
    return Ask("grounded", passage.lang, {"PASSAGE": (passage.text,)}, keys, passage)


def _grounded(ask: Ask, found: dict[str, str]) -> Prompt:
    """A question whose answer stands in the evidence and the evidence in the passage."""
    text = found["question"]
    check_instruction(text, ask.lang, ask.data)
    said, answer, evidence = (
        f" {' '.join(words(part))} "
        for part in (ask.origin.text, found["answer"], found["evidence"])
    )
    if not answer.strip() or evidence not in said:
        raise Refused("the evidence is not in the passage")
    if answer not in evidence:
        raise Refused("the answer is not in the evidence")
    if answer in f" {' '.join(words(text))} ":
        raise Refused("the question gives the answer away")
    if _REFERS.search(text):
        raise Refused("the question speaks of a text")
    origin: Document = ask.origin
    return Prompt(
        id=content_id("grounded", origin.id, text),
        source=f"grounded:{origin.source}",
        lang=ask.lang,
        synthetic=True,
        parents=(origin.id,),
        messages=[{"role": "user", "content": text}],
        task="knowledge",
        group=origin.id,
        verify={"kind": "answer", "answers": [found["answer"]]},
    )


def _ask_for_text(
    origin: Example | Document, number: int, draw: random.Random, pool: Sequence[str]
) -> Ask:
    return Ask(
        "back_translation", origin.lang, {"TEXT": (_text(origin),)}, ("instruction",), origin
    )


def _text(origin: Example | Document) -> str:
    if isinstance(origin, Document):
        return origin.text
    return next(m["content"] for m in reversed(origin.messages) if m["role"] == "assistant")


def _back_translated(ask: Ask, found: dict[str, str]) -> Example:
    """The text as the reply to the instruction; the text itself stays as it is."""
    text, reply = ask.instruction(found), _text(ask.origin)
    if f" {' '.join(words(reply))} " in f" {' '.join(words(text))} ":
        raise Refused("the instruction gives the text away")
    messages: list[Message] = [
        {"role": "user", "content": text}, {"role": "assistant", "content": reply}
    ]  # fmt: skip
    return Example(
        id=content_id("back_translation", ask.origin.id, text),
        source=f"back_translation:{ask.origin.source}",
        lang=ask.lang,
        synthetic=True,
        parents=(ask.origin.id,),
        messages=messages,
    )


METHODS: dict[str, Method] = {
    "templates": Method(("topics",), _ask_cell, _from_cell),
    "self_instruct": Method(("prompts",), _ask_new, _from_seed),
    "evolve": Method(("prompts",), _ask_evolution, _evolved),
    "grounded": Method(("documents",), _ask_passage, _grounded),
    "back_translation": Method(("examples", "documents"), _ask_for_text, _back_translated),
    "paraphrase": Method(
        ("prompts", "examples"), variations.ask_paraphrase, variations.paraphrased
    ),
    "language": Method(("prompts",), variations.ask_language, variations.translated),
    "distractors": Method(
        ("prompts", "examples"), variations.ask_distractor, variations.distracted
    ),
}
