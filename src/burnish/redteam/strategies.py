"""Attack strategies: wordings as data, and the pure function that makes conversations of them.

Role play, encodings and injected prefixes follow Wei et al. 2023 ("Jailbroken"), the past tense
Andriushchenko and Flammarion 2024, many shots Anil et al. 2024, escalation over several turns
Russinovich et al. 2024 ("Crescendo"). Their wordings here are burnish's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from burnish.records import Language, Message
from burnish.redteam.encodings import Code, deed, encode

SEARCH = "search"
"""The strategy that is not a wording: it searches for one against the target."""


@dataclass(frozen=True)
class Strategy:
    """User turns in each language it works in; ``shots`` answered requests stand before them."""

    name: str
    turns: Mapping[Language, tuple[str, ...]]
    code: Code | None = None
    shots: int = 0

    @property
    def simple(self) -> bool:
        """Whether it turns a request into another text, so that the search may use it."""
        return self.name != "direct" and not self.shots and all(
            len(turns) == 1 for turns in self.turns.values()
        )  # fmt: skip


@dataclass(frozen=True)
class Wordings:
    """What ``assets/redteam/wordings.yaml`` holds."""

    strategies: Mapping[str, Strategy]
    shots: Mapping[Language, tuple[tuple[str, str], ...]]
    frames: Mapping[Language, tuple[str, ...]]
    attacker: Mapping[str, Mapping[Language, str]]
    openings: Mapping[Language, tuple[str, str]]


@cache
def wordings() -> Wordings:
    """The shipped wordings."""
    file = files("burnish").joinpath("assets", "redteam", "wordings.yaml")
    found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    strategies = {
        name: Strategy(
            name,
            {lang: tuple(turns) for lang, turns in row["turns"].items()},
            row.get("code"),
            row.get("shots", 0),
        )
        for name, row in found["strategies"].items()
    }
    return Wordings(
        strategies,
        {lang: tuple((q, a) for q, a in rows) for lang, rows in found["shots"].items()},
        {lang: tuple(rows) for lang, rows in found["frames"].items()},
        found["attacker"],
        {lang: (helps, declines) for lang, (helps, declines) in found["openings"].items()},
    )


def names() -> list[str]:
    """Every strategy, in the order of the file, and the search."""
    return [*wordings().strategies, SEARCH]


def searches(asked: Sequence[str]) -> bool:
    """Whether the search is among these; no names are all."""
    return SEARCH in (asked or names())


def turns(asked: Sequence[str]) -> int:
    """Requests to the target for each prompt in these strategies, without the search's."""
    known = wordings().strategies
    return sum(
        max(map(len, known[name].turns.values())) for name in asked or names() if name != SEARCH
    )


def check(field: str, asked: Sequence[str]) -> None:
    """Every name must be that of a strategy, and stand there once.

    Raises:
        ValueError: naming those that exist.
    """
    for name in asked:
        if name not in names():
            raise ValueError(f"{field}: no strategy {name!r}; expected of {', '.join(names())}")
        if asked.count(name) > 1:
            raise ValueError(f"{field}: {name!r} is there twice; expected each once")


def wrap(strategy: Strategy, text: str, lang: Language) -> list[str]:
    """The user turns that ask for ``text``; empty where it does not work in the language."""
    coded = "" if strategy.code is None else encode(strategy.code, text)
    # Not str.format: a request may hold braces.
    filled = {"{goal}": text, "{deed}": deed(text, lang), "{coded}": coded}
    return [_filled(turn, filled) for turn in strategy.turns.get(lang, ())]


def _filled(template: str, values: Mapping[str, str]) -> str:
    for mark, value in values.items():
        if mark in template:
            before, after = template.split(mark, 1)
            return before + value + after
    return template


def before(strategy: Strategy, lang: Language) -> list[Message]:
    """The turns that stand before the first one of the attack."""
    messages: list[Message] = []
    for question, answer in wordings().shots[lang][: strategy.shots]:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def ask_attacker(kind: str, lang: Language, goal: str, talk: str = "") -> list[Message]:
    """What a model that helps the attack is asked: ``reword`` or ``next_turn``."""
    template = wordings().attacker[kind][lang]
    head, _, tail = template.partition("{goal}")
    return [{"role": "user", "content": head + goal + _filled(tail, {"{talk}": talk})}]
