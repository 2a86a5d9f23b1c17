"""Instruction prompts from topics × templates, in English and Chinese (指令生成).

The file, YAML::

    version: 1
    topics:
      - id: sleep
        en: [sleep, a good night's rest]
        zh: [睡眠]
    templates:
      - id: tip
        task: chat
        en: Give one tip about {topic}.
        zh: 请给出一条关于{topic}的建议。
        topics: [sleep]            # optional: only these topics
        verify: {kind: comply}     # optional: how replies are verified
      - id: solve
        en: "{topic}: how can I solve {problem}?"
        slots:                     # optional: other slots and the words that fill them
          problem: {en: [a lack of time]}

A file without templates uses those that come with burnish (``templates.yaml``).
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem, Settings
from burnish.config.yamlfile import dotted, line_of, load_yaml, parse
from burnish.records import Language, Prompt, content_id
from burnish.rewards.verifiers import validate

_SLOTS = re.compile(r"\{(\w+)\}")
SHIPPED = Path(__file__).with_name("templates.yaml")


class Words(Settings):
    """What fills a slot, by language."""

    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()

    def phrases(self, lang: Language) -> tuple[str, ...]:
        """The words in a language; empty when it has none."""
        return self.en if lang == "en" else self.zh


class Topic(Words):
    """A topic and the words that fill a template's slot, by language."""

    id: str


class Template(Settings):
    """An instruction with the slot ``{topic}``, by language; ``topics`` limits where it is used.

    ``slots`` are other slots, each with the words that fill it.
    """

    id: str
    task: str = "chat"
    en: str = ""
    zh: str = ""
    topics: tuple[str, ...] = ()
    slots: dict[str, Words] = {}
    verify: dict[str, Any] | None = None

    def text(self, lang: Language) -> str:
        """The instruction in a language; empty when it has none."""
        return self.en if lang == "en" else self.zh


class InstructionFile(Settings):
    """Topics and templates as read from a file."""

    version: int = 1
    topics: tuple[Topic, ...] = ()
    templates: tuple[Template, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One topic in one template: ``text`` is the template with all slots filled."""

    topic: str
    phrase: str
    template: Template
    lang: Language
    text: str

    def prompt(self) -> Prompt:
        """The text as it is."""
        return Prompt(
            id=content_id("instruction", self.text),
            source=f"instructions:{self.template.id}",
            lang=self.lang,
            synthetic=True,
            messages=[{"role": "user", "content": self.text}],
            task=self.template.task,
            topic=self.topic,
            group=self.topic,
            verify=self.template.verify,
        )


def load(path: Path) -> InstructionFile:
    """Read and check a file of topics and templates.

    Raises:
        InputError: with file, line and field of everything that is wrong.
    """
    value, lines = load_yaml(path)
    found = parse(InstructionFile, value, file=str(path), lines=lines)
    if path != SHIPPED and not found.templates:
        found = found.model_copy(update={"templates": load(SHIPPED).templates})
    problems = []

    def wrong(where: tuple[str | int, ...], what: str, expected: str = "") -> None:
        line = line_of(where, lines)
        problems.append(Problem(str(path), line, dotted(where), what, expected))

    if path != SHIPPED and not found.topics:
        wrong(("topics",), "no topics", "a list of topics")
    known = {topic.id for topic in found.topics}
    for index, topic in enumerate(found.topics):
        if not (topic.en or topic.zh):
            wrong(("topics", index), "no words in any language", "a list under en or zh")
    for index, template in enumerate(found.templates):
        at = ("templates", index)
        if not (template.en or template.zh):
            wrong(at, "no text in any language", "a text under en or zh")
        for lang in ("en", "zh"):
            text = getattr(template, lang)
            for slot in ("topic", *template.slots) if text else ():
                if text.count(f"{{{slot}}}") != 1:
                    wrong((*at, lang), f"found {text!r}", f"exactly one {{{slot}}}")
        for slot, fillers in template.slots.items():
            for lang in ("en", "zh"):
                if getattr(template, lang) and not getattr(fillers, lang):
                    wrong((*at, "slots", slot), f"no words in {lang}", f"a list under {lang}")
        for name in sorted(set(template.topics) - known):
            wrong((*at, "topics"), f"unknown topic {name!r}", f"one of {', '.join(sorted(known))}")
        for problem in validate(template.verify) if template.verify is not None else []:
            wrong((*at, "verify"), problem)
    ids = {
        "topics": [topic.id for topic in found.topics],
        "templates": [template.id for template in found.templates],
    }
    for name, given in ids.items():
        for index, id in enumerate(given):
            if id in given[:index]:
                wrong((name, index, "id"), f"id {id!r} is used twice")
    if problems:
        raise InputError(problems)
    return found


def make_prompts(
    source: InstructionFile,
    count: int,
    seed: int,
    langs: Sequence[Language] = ("en", "zh"),
    weights: Mapping[str, float] | None = None,
) -> list[Prompt]:
    """Draw ``count`` different prompts, or all there are where there are fewer.

    Topics are drawn with probability proportional to ``weights`` (1 where not named; give weak
    topics more), then a template and a phrase of that topic evenly.
    """
    if weights and min(weights.values()) < 0:
        raise ValueError("topic weights must not be negative")
    draw = random.Random(seed)
    open_: dict[str, list[Cell]] = {}
    for topic, found in cells(source, langs).items():
        if (weights or {}).get(topic, 1.0) > 0:
            draw.shuffle(found)
            open_[topic] = found
    prompts: dict[str, Prompt] = {}
    while len(prompts) < count and open_:
        names = list(open_)
        shares = [(weights or {}).get(name, 1.0) for name in names]
        name = draw.choices(names, shares)[0]
        prompt = open_[name].pop().prompt()
        prompts.setdefault(prompt.id, prompt)
        if not open_[name]:
            del open_[name]
    return list(prompts.values())


def make_counted(
    cells: Mapping[str, Sequence[Cell]], counts: Mapping[str, int], seed: int
) -> list[Prompt]:
    """Different prompts, as many of each topic as ``counts`` says, or all that the topic has."""
    made: dict[str, Prompt] = {}
    for topic, found in cells.items():
        own = {prompt.id: prompt for prompt in (cell.prompt() for cell in found)}
        fresh = [prompt for id, prompt in own.items() if id not in made]
        random.Random(f"{seed}:{topic}").shuffle(fresh)
        made |= {prompt.id: prompt for prompt in fresh[: counts.get(topic, 0)]}
    return list(made.values())


def cells(
    source: InstructionFile, langs: Sequence[Language] = ("en", "zh")
) -> dict[str, list[Cell]]:
    """Everything that topics × templates give, by topic; topics that give nothing are not there."""
    found: dict[str, list[Cell]] = {}
    for topic in source.topics:
        for template in source.templates:
            if template.topics and topic.id not in template.topics:
                continue
            for lang in langs:
                for phrase in topic.phrases(lang) if template.text(lang) else ():
                    found.setdefault(topic.id, []).extend(
                        Cell(topic.id, phrase, template, lang, text)
                        for text in _filled(template, lang, phrase)
                    )
    return found


def _filled(template: Template, lang: Language, phrase: str) -> list[str]:
    """The template's text with every combination of words; words are put in once, as they are."""
    names = list(template.slots)
    texts = []
    for chosen in product(*(template.slots[name].phrases(lang) for name in names)):
        words = {"topic": phrase, **dict(zip(names, chosen, strict=True))}
        parts = _SLOTS.split(template.text(lang))
        # Every second part is the name between braces.
        texts.append(
            "".join(
                part if index % 2 == 0 else words.get(part, f"{{{part}}}")
                for index, part in enumerate(parts)
            )
        )
    return texts
