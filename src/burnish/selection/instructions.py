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
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem, Settings
from burnish.config.yamlfile import dotted, line_of, load_yaml, parse
from burnish.records import Language, Prompt, content_id
from burnish.rewards.verifiers import validate

SLOT = "{topic}"


class Topic(Settings):
    """A topic and the words that fill a template's slot, by language."""

    id: str
    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()

    def phrases(self, lang: Language) -> tuple[str, ...]:
        """The topic's words in a language; empty when it has none."""
        return self.en if lang == "en" else self.zh


class Template(Settings):
    """An instruction with the slot ``{topic}``, by language; ``topics`` limits where it is used."""

    id: str
    task: str = "chat"
    en: str = ""
    zh: str = ""
    topics: tuple[str, ...] = ()
    verify: dict[str, Any] | None = None

    def text(self, lang: Language) -> str:
        """The instruction in a language; empty when it has none."""
        return self.en if lang == "en" else self.zh


class InstructionFile(Settings):
    """Topics and templates as read from a file."""

    version: int = 1
    topics: tuple[Topic, ...]
    templates: tuple[Template, ...]


@dataclass(frozen=True)
class _Cell:
    topic: Topic
    template: Template
    lang: Language
    phrase: str


def load(path: Path) -> InstructionFile:
    """Read and check a file of topics and templates.

    Raises:
        InputError: with file, line and field of everything that is wrong.
    """
    value, lines = load_yaml(path)
    found = parse(InstructionFile, value, file=str(path), lines=lines)
    problems = []

    def wrong(where: tuple[str | int, ...], what: str, expected: str = "") -> None:
        line = line_of(where, lines)
        problems.append(Problem(str(path), line, dotted(where), what, expected))

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
            if text and text.count(SLOT) != 1:
                wrong((*at, lang), f"found {text!r}", f"exactly one {SLOT}")
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
    cells: dict[str, list[_Cell]] = {}
    for topic in source.topics:
        found = [
            _Cell(topic, template, lang, phrase)
            for template in source.templates
            if not template.topics or topic.id in template.topics
            for lang in langs
            if template.text(lang)
            for phrase in topic.phrases(lang)
        ]
        if found and (weights or {}).get(topic.id, 1.0) > 0:
            draw.shuffle(found)
            cells[topic.id] = found
    prompts: dict[str, Prompt] = {}
    while len(prompts) < count and cells:
        names = list(cells)
        shares = [(weights or {}).get(name, 1.0) for name in names]
        name = draw.choices(names, shares)[0]
        prompt = _prompt(cells[name].pop())
        prompts.setdefault(prompt.id, prompt)
        if not cells[name]:
            del cells[name]
    return list(prompts.values())


def _prompt(cell: _Cell) -> Prompt:
    text = cell.template.text(cell.lang).replace(SLOT, cell.phrase)
    return Prompt(
        id=content_id("instruction", text),
        source=f"instructions:{cell.template.id}",
        lang=cell.lang,
        synthetic=True,
        messages=[{"role": "user", "content": text}],
        task=cell.template.task,
        topic=cell.topic.id,
        group=cell.topic.id,
        verify=cell.template.verify,
    )
