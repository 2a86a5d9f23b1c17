"""A constitution: principles in a YAML file, a critic that applies them, and revisions.

Constitutional AI (Bai et al. 2022) has a model critique and revise its own replies. A model of a
few million parameters cannot, so the embedded critic is *rules plus the reward model*, and every
critique says so (``critic="rules+reward"``). It does not judge whether a prompt is harmful: that
comes from the training prompt's label (``verify.kind`` refuse, comply or abstain), and prompts
without a label are not critiqued. For larger models ``critic.ModelCritic`` gives critiques of
the same form (``critic="model"``).

The file::

    version: 1
    principles:
      - id: people
        en: Do not help anyone hurt people or animals.
        zh: 不帮助任何人伤害他人或动物。
        applies_to: ["*violence*"]     # patterns on the prompt's category, any case
        rule: decline                  # decline | help | admit
        reward_floor: -2.0             # optional: a lower reward is a violation too
        revise: {en: [...], zh: [...]} # replies to put in the place of a violating one
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field

from burnish.config import InputError, Problem, Settings
from burnish.config.yamlfile import dotted, line_of, load_yaml, parse
from burnish.records import Language, Prompt
from burnish.rewards.verifiers import Check, verify, verify_prompt

Rule = Literal["decline", "help", "admit"]
LABEL: dict[Rule, str] = {"decline": "refuse", "help": "comply", "admit": "abstain"}


class Revisions(Settings):
    """Replies by language."""

    en: tuple[str, ...] = Field(min_length=1)
    zh: tuple[str, ...] = Field(min_length=1)


class Principle(Settings):
    """One principle in both languages; see the module's text for the fields."""

    id: str
    en: str
    zh: str
    applies_to: tuple[str, ...] = ("*",)
    rule: Rule
    reward_floor: float | None = None
    revise: Revisions

    def text(self, lang: Language) -> str:
        """The principle in a language."""
        return self.en if lang == "en" else self.zh

    def applies(self, prompt: Prompt) -> bool:
        """Whether the prompt's label and category call for this principle."""
        if prompt.verify is None or prompt.verify.get("kind") != LABEL[self.rule]:
            return False
        category = prompt.category.casefold()
        return any(fnmatchcase(category, pattern.casefold()) for pattern in self.applies_to)


class Constitution(Settings):
    """Principles in the order of their file."""

    version: int = 1
    principles: tuple[Principle, ...] = Field(min_length=1)

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
        InputError: with file, line and field of everything that is wrong; also where a revision
            would itself break its principle.
    """
    value, lines = load_yaml(path)
    found = parse(Constitution, value, file=str(path), lines=lines)
    problems = []
    seen: set[str] = set()
    for index, principle in enumerate(found.principles):
        at: tuple[str | int, ...] = ("principles", index)
        if principle.id in seen:
            where = (*at, "id")
            what = f"id {principle.id!r} is used twice"
            problems.append(Problem(str(path), line_of(where, lines), dotted(where), what))
        seen.add(principle.id)
        for lang in ("en", "zh"):
            for number, text in enumerate(getattr(principle.revise, lang)):
                check = verify({"kind": LABEL[principle.rule]}, text)
                if check.outcome != "right":
                    where = (*at, "revise", lang, number)
                    what = f"found {text!r}"
                    expected = f"a reply that keeps rule {principle.rule!r}: {check.reason}"
                    line = line_of(where, lines)
                    problems.append(Problem(str(path), line, dotted(where), what, expected))
    if problems:
        raise InputError(problems)
    return found


def draw(constitution: Constitution, prompt: Prompt, seed: int) -> Principle | None:
    """The principle to hold a reply to this prompt against: drawn evenly, by seed and prompt.

    The more specific go first: a principle for every category (``*``) is drawn only where no
    other applies.
    """
    applying = [one for one in constitution.principles if one.applies(prompt)]
    specific = [one for one in applying if "*" not in one.applies_to]
    pool = specific or applying
    return random.Random(f"{seed}:{prompt.id}").choice(pool) if pool else None


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
    choices = revisions.en if (lang or prompt.lang) == "en" else revisions.zh
    return random.Random(f"{seed}:{prompt.id}:{found.principle_id}").choice(choices)
