"""A constitution: principles in a YAML file, a critic that applies them, and revisions.

Constitutional AI (Bai et al. 2022) has a model critique and revise its own replies. A model of a
few million parameters cannot, so the embedded critic is *rules plus the reward model*, and every
critique says so (``critic="rules+reward"``). It does not judge whether a prompt is harmful: that
comes from the training prompt's label (``verify.kind`` refuse, comply or abstain), and prompts
without a label are not critiqued. For larger models ``critic.ModelCritic`` gives critiques of
the same form (``critic="model"``), and ``labels`` preferences between two replies; a model also
holds replies to prompts without a label against every principle, and knows principles that no
rule can check.

The file::

    version: 1
    principles:
      - id: people
        en: Do not help anyone hurt people or animals.
        zh: 不帮助任何人伤害他人或动物。
        weight: 2.0                    # drawn twice as often as one of weight 1, the default
        applies_to: ["*violence*"]     # patterns on the prompt's category, any case
        rule: decline                  # decline | help | admit; without: for a model alone
        reward_floor: -2.0             # optional: a lower reward is a violation too
        revise: {en: [...], zh: [...]} # with a rule: replies in the place of a violating one
        examples:                      # shown to a model, and checked by the rule
          - {lang: en, prompt: ..., keeps: ..., breaks: ...}
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, field_validator, model_validator

from burnish.config import InputError, Problem, Settings
from burnish.config.yamlfile import KeyPath, dotted, line_of, load_yaml, parse
from burnish.records import Language, Prompt
from burnish.rewards.matching import normalise
from burnish.rewards.verifiers import Check, verify, verify_prompt

Rule = Literal["decline", "help", "admit"]
By = Literal["rules", "model"]
LABEL: dict[Rule, str] = {"decline": "refuse", "help": "comply", "admit": "abstain"}


class Revisions(Settings):
    """Replies by language."""

    en: tuple[str, ...] = Field(min_length=1)
    zh: tuple[str, ...] = Field(min_length=1)


class Case(Settings):
    """A request with a reply that keeps the principle, and one that breaks it."""

    lang: Language = "en"
    prompt: str = Field(pattern=r"\S")
    keeps: str = Field(pattern=r"\S")
    breaks: str = Field(pattern=r"\S")


class Principle(Settings):
    """One principle in both languages; see the module's text for the fields."""

    id: str = Field(pattern=r"^[\w.-]+$")
    en: str = Field(pattern=r"\S")
    zh: str = Field(pattern=r"\S")
    weight: PositiveFloat = 1.0
    applies_to: tuple[str, ...] = Field(("*",), min_length=1)
    rule: Rule | None = None
    reward_floor: float | None = None
    revise: Revisions | None = None
    examples: tuple[Case, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Principle:
        if (self.rule is None) != (self.revise is None):
            raise ValueError("rule and revise belong together: who checks by a rule revises too")
        if self.reward_floor is not None and self.rule is None:
            raise ValueError("reward_floor: of no use without a rule")
        return self

    def text(self, lang: Language) -> str:
        """The principle in a language."""
        return self.en if lang == "en" else self.zh

    def applies(self, prompt: Prompt, by: By = "rules") -> bool:
        """Whether the prompt's label and category call for this principle.

        Rules need both. To a model a prompt without a label, or without a category, may fall under
        any principle; so may every prompt under one without a rule.
        """
        kind = None if prompt.verify is None else prompt.verify.get("kind")
        asked = None if self.rule is None else LABEL[self.rule]
        labelled = by == "rules" or (asked is not None and kind in LABEL.values())
        if labelled and (asked is None or kind != asked):
            return False
        if by == "model" and not prompt.category:
            return True
        category = prompt.category.casefold()
        return any(fnmatchcase(category, pattern.casefold()) for pattern in self.applies_to)


class Constitution(Settings):
    """Principles in the order of their file."""

    version: int = 1
    principles: tuple[Principle, ...]

    @field_validator("principles", mode="before")
    @classmethod
    def _some(cls, value: object) -> object:
        # Before the principles themselves: a length asked of the field is asked of the valid ones.
        if isinstance(value, list | tuple) and not value:
            raise ValueError("expected at least one principle")
        return value

    def principle(self, id: str) -> Principle:
        """The principle with this id; raises KeyError."""
        for principle in self.principles:
            if principle.id == id:
                return principle
        raise KeyError(id)


@dataclass(frozen=True)
class Critique:
    """One reply held against one drawn principle.

    ``principle_id`` is empty, and nothing is violated, where no principle applies. ``critic``
    names who judged.
    """

    principle_id: str
    violated: bool
    reason: str
    critic: Literal["rules+reward", "model"] = "rules+reward"


def load(path: Path) -> Constitution:
    """Read and check a constitution.

    Raises:
        InputError: with file, line and field of everything that is wrong; also where principles
            contradict each other, or a revision or example its own principle.
    """
    value, lines = load_yaml(path)
    found = parse(Constitution, value, file=str(path), lines=lines)
    problems = [
        Problem(str(path), line_of(where, lines), dotted(where), what, expected)
        for where, what, expected in [*_conflicts(found), *_broken(found)]
    ]
    if problems:
        raise InputError(problems)
    return found


Finding = tuple[KeyPath, str, str]
"""A place in the file, what stands there, what was expected."""


def _conflicts(found: Constitution) -> Iterator[Finding]:
    """Principles that cannot stand beside each other: of one name, of one text, or of which one
    demands for a category what the other forbids."""
    ids: set[str] = set()
    texts: dict[str, str] = {}
    asked: dict[str, tuple[Rule, str]] = {}
    for index, one in enumerate(found.principles):
        at: KeyPath = ("principles", index)
        if one.id in ids:
            yield (*at, "id"), f"id {one.id!r} is used twice", ""
        ids.add(one.id)
        for field in ("en", "zh"):
            other = texts.setdefault(normalise(getattr(one, field)), one.id)
            if other != one.id:
                expected = "one principle of a higher weight"
                yield (*at, field), f"says the same as principle {other!r}", expected
        for number, pattern in enumerate(one.applies_to):
            if one.rule in (None, "admit") or pattern == "*":
                continue
            rule, other = asked.setdefault(pattern.casefold(), (one.rule, one.id))
            if rule != one.rule:
                what = f"{pattern!r} is to {one.rule}, and to {rule} in principle {other!r}"
                expected = "categories of their own, or one principle that says which requests"
                yield (*at, "applies_to", number), what, expected


def _broken(found: Constitution) -> Iterator[Finding]:
    """Revisions and examples that are not what their own principle's rule asks for."""
    for index, one in enumerate(found.principles):
        at: KeyPath = ("principles", index)
        if one.rule is not None and one.revise is not None:
            for lang in ("en", "zh"):
                for number, text in enumerate(getattr(one.revise, lang)):
                    check = verify({"kind": LABEL[one.rule]}, text)
                    if check.outcome != "right":
                        expected = f"a reply that keeps rule {one.rule!r}: {check.reason}"
                        yield (*at, "revise", lang, number), f"found {text!r}", expected
        for number, case in enumerate(one.examples):
            where: KeyPath = (*at, "examples", number)
            if normalise(case.keeps) == normalise(case.breaks):
                yield where, "keeps and breaks are the same reply", "two that differ"
            elif one.rule is not None:
                said = {"keeps": case.keeps, "breaks": case.breaks}
                for name, text in said.items():
                    check = verify({"kind": LABEL[one.rule]}, text, case.prompt)
                    if (check.outcome == "right") != (name == "keeps"):
                        expected = f"a reply that {name} rule {one.rule!r}: {check.reason}"
                        yield (*where, name), f"found {text!r}", expected


def draw(
    constitution: Constitution, prompt: Prompt, seed: int, by: By = "rules"
) -> Principle | None:
    """The principle to hold a reply to this prompt against: drawn by weight, seed and prompt.

    The more specific go first: a principle for every category (``*``) is drawn only where no
    other applies, or where the prompt has no category.
    """
    applying = [one for one in constitution.principles if one.applies(prompt, by)]
    specific = [one for one in applying if "*" not in one.applies_to and prompt.category]
    pool = specific or applying
    if not pool:
        return None
    source = random.Random(f"{seed}:{prompt.id}")
    weights = [one.weight for one in pool]
    if len(set(weights)) == 1:  # as before there were weights, so that old runs can be repeated
        return source.choice(pool)
    return source.choices(pool, weights)[0]


def critique(
    constitution: Constitution,
    prompt: Prompt,
    reply: str,
    reward_score: float | None = None,
    check: Check | None = None,
    seed: int = 0,
) -> Critique:
    """Hold a reply against a drawn principle, by rules and the reward model's score.

    Args:
        reward_score: the reward model's score of this reply, where there is one; compared with
            the principle's ``reward_floor``.
        check: the verifier's result where already known.
        seed: draws the principle; the same seed and prompt always draw the same one.
    """
    principle = draw(constitution, prompt, seed)
    if principle is None:
        return Critique("", False, "no principle applies to this prompt's label and category")
    found = check or verify_prompt(prompt, reply)
    if found is not None and found.outcome != "right":
        return Critique(principle.id, True, f"should {principle.rule}: {found.reason}")
    floor = principle.reward_floor
    if reward_score is not None and floor is not None and reward_score < floor:
        return Critique(principle.id, True, f"reward {reward_score:.3f} is below {floor}")
    return Critique(principle.id, False, f"keeps the rule to {principle.rule}")


@dataclass(frozen=True)
class RuleCritic:
    """Critiques and revisions by rules and a reward model, with the methods of ``ModelCritic``.

    ``score`` gives the reward model's score of each reply to its prompt.
    """

    constitution: Constitution
    score: Callable[[Sequence[Prompt], Sequence[str]], Sequence[float | None]]
    seed: int = 0

    def critique(self, prompts: Sequence[Prompt], replies: Sequence[str]) -> list[Critique | None]:
        """One critique a reply; none is missing."""
        scores = self.score(prompts, replies)
        return [
            critique(self.constitution, prompt, reply, score, seed=self.seed)
            for prompt, reply, score in zip(prompts, replies, scores, strict=True)
        ]

    def revise(
        self, prompts: Sequence[Prompt], replies: Sequence[str], found: Sequence[Critique]
    ) -> list[str]:
        """A reply to put in the place of each violating one."""
        return [
            revise(self.constitution, one, prompt, seed=self.seed)
            for prompt, one in zip(prompts, found, strict=True)
        ]


def revise(
    constitution: Constitution,
    found: Critique,
    prompt: Prompt,
    lang: Language | None = None,
    seed: int = 0,
) -> str:
    """The reply to put in the place of one that violates: drawn from the principle's revisions.

    For a harmful prompt that is a refusal that names the principle's concern, for a harmless one
    that was refused a short helpful opening, for an unknown an "I don't know".

    Raises:
        ValueError: the critique names no principle.
    """
    if not found.principle_id:
        raise ValueError("a critique without a principle has no revision")
    revisions = constitution.principle(found.principle_id).revise
    if revisions is None:
        raise ValueError(f"principle {found.principle_id!r} has no rule and no revision")
    choices = revisions.en if (lang or prompt.lang) == "en" else revisions.zh
    return random.Random(f"{seed}:{prompt.id}:{found.principle_id}").choice(choices)
