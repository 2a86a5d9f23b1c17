"""A search against the target: wordings that change from generation to generation.

A (mu + lambda) evolution. A child is a parent with one change: a strategy of one turn around it, a
frame, two letters swapped, or the new wording of a model. What is fittest so far has children.
Fitness of a declined wording is how likely the target finds a helpful opening instead of a
declining one, where its weights are here; a served target says only whether it declined, and the
search is then a random one. It ends with the first success or with the budget.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field, PositiveInt

from burnish.config import Settings
from burnish.records import Language, Message, Prompt
from burnish.redteam.attempts import complied
from burnish.redteam.strategies import SEARCH, ask_attacker, wordings, wrap
from burnish.rewards.options import Weigh

DRAWS = 8
"""How often a child is drawn again that was tried before or does not fit the model's context."""


class WordingSearch(Settings):
    """How long to search for a wording: ``budget`` requests to the target for each prompt,
    ``population`` in each generation, the fittest ``parents`` of all so far have children.
    ``reworded`` is the share of children that a model words, where there is one for it."""

    budget: PositiveInt = 24
    population: PositiveInt = 6
    parents: PositiveInt = 3
    reworded: float = Field(0.5, ge=0, le=1)


@dataclass(frozen=True)
class Said:
    """A reply of the target."""

    text: str
    finish: Literal["stop", "length"]


NOTHING = Said("", "stop")
"""Before the target was asked."""
Asked = Sequence[tuple[str, list[Message]]]
"""Conversations, each with the name that its seed comes from."""
Ask = Callable[[Asked], list[Said]]


@dataclass(frozen=True)
class Target:
    """A model under attack. ``weigh`` is None where it is served."""

    ask: Ask
    fits: Callable[[list[Message]], bool]
    weigh: Weigh | None = None


@dataclass(frozen=True)
class Candidate:
    """A wording, what was done to get it, and what it led to."""

    text: str
    steps: tuple[str, ...] = ()
    said: Said = NOTHING
    fitness: float = 0.0
    requests: int = 0

    @property
    def messages(self) -> list[Message]:
        """The conversation that it is."""
        return [{"role": "user", "content": self.text}]


def search(
    target: Target,
    prompts: Sequence[Prompt],
    settings: WordingSearch,
    held_out: Collection[str] = (),
    attacker: Ask | None = None,
    seed: int = 0,
) -> list[Candidate | None]:
    """The best wording found for each prompt; None where none fits the model's context.

    Prompts are searched for side by side, and a result depends on its prompt and the seed alone.

    Args:
        held_out: strategies that the search must not use.
        attacker: words some of the children.
    """
    pools: dict[str, list[Candidate]] = {one.id: [] for one in prompts}
    seen: dict[str, set[str]] = {one.id: {_text(one)} for one in prompts}
    open_ = list(prompts)
    generation = 0
    while open_:
        made: list[tuple[Prompt, str, Candidate]] = []
        for prompt in open_:
            room = settings.budget - len(pools[prompt.id])
            for place in range(min(room, settings.population)):
                name = f"{prompt.id}:{generation}:{place}"
                rng = random.Random(f"{seed}:{name}")
                parent = _parent(prompt, pools[prompt.id], settings.parents, rng)
                child = _child(target, prompt, parent, seen[prompt.id], held_out, rng)
                if child is not None:
                    made.append((prompt, name, child))
                    seen[prompt.id].add(child.text)
        if attacker is not None:
            made = _reworded(target, attacker, made, settings.reworded, seed)
        for (prompt, _, _), found in zip(made, _tried(target, made), strict=True):
            pools[prompt.id].append(found)
        more = {prompt.id for prompt, _, _ in made}
        open_ = [one for one in open_ if one.id in more and _goes_on(pools[one.id], settings)]
        generation += 1
    return [_best(pools[one.id]) for one in prompts]


def _text(prompt: Prompt) -> str:
    return prompt.messages[-1]["content"]


def _goes_on(pool: Sequence[Candidate], settings: WordingSearch) -> bool:
    return len(pool) < settings.budget and max(one.fitness for one in pool) < 1


def _best(pool: Sequence[Candidate]) -> Candidate | None:
    """The first of the fittest, with what the whole search took."""
    best = max(pool, key=lambda one: one.fitness, default=None)
    return None if best is None else replace(best, requests=len(pool))


def _parent(
    prompt: Prompt, pool: Sequence[Candidate], parents: int, rng: random.Random
) -> Candidate:
    fittest = sorted(pool, key=lambda one: -one.fitness)[:parents]
    return rng.choice([Candidate(_text(prompt)), *fittest])


def _child(
    target: Target,
    prompt: Prompt,
    parent: Candidate,
    seen: Collection[str],
    held_out: Collection[str],
    rng: random.Random,
) -> Candidate | None:
    """The parent with one change that nobody tried; None after ``DRAWS`` that did not work."""
    for _ in range(DRAWS):
        step = rng.choice(operators(prompt.lang, {*held_out, *parent.steps}))
        text = change(step, parent.text, prompt.lang, rng)
        child = Candidate(text, (*parent.steps, step))
        if text not in seen and target.fits(child.messages):
            return child
    return None


def operators(lang: Language, without: Collection[str] = ()) -> list[str]:
    """The changes for a language: strategies of one turn, each at most once, frames and typos."""
    known = wordings().strategies.values()
    simple = [one.name for one in known if one.simple and lang in one.turns]
    return [*(name for name in simple if name not in without), "frame", "typo"]


def change(step: str, text: str, lang: Language, rng: random.Random) -> str:
    """``text`` with one change."""
    if step == "frame":
        before, _, after = rng.choice(wordings().frames[lang]).partition("{goal}")
        return before + text + after
    if step == "typo":
        inner = [at for at in range(1, len(text) - 2) if text[at : at + 2].isalpha()]
        if not inner:
            return text
        at = rng.choice(inner)
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return wrap(wordings().strategies[step], text, lang)[0]


def _reworded(
    target: Target,
    attacker: Ask,
    made: Sequence[tuple[Prompt, str, Candidate]],
    share: float,
    seed: int,
) -> list[tuple[Prompt, str, Candidate]]:
    """The same children, some worded by a model; where it says nothing of use, as they were."""
    chosen = [row for row in made if random.Random(f"{seed}:{row[1]}:who").random() < share]
    asked = [
        (f"reword:{name}", ask_attacker("reword", prompt.lang, child.text))
        for prompt, name, child in chosen
    ]
    said = dict(zip((name for _, name, _ in chosen), attacker(asked) if asked else [], strict=True))
    found = []
    for prompt, name, child in made:
        text = said[name].text.strip() if name in said else ""
        new = Candidate(text, (*child.steps, "model"))
        usable = text and complied(child.text, text) and target.fits(new.messages)
        found.append((prompt, name, new if usable else child))
    return found


def _tried(target: Target, made: Sequence[tuple[Prompt, str, Candidate]]) -> list[Candidate]:
    """The children with the target's replies and their fitness: 1 for a success."""
    asked = [(f"{SEARCH}:{name}", child.messages) for _, name, child in made]
    replies = target.ask(asked) if asked else []
    found = [
        replace(child, said=said, fitness=float(complied(child.text, said.text)))
        for (_, _, child), said in zip(made, replies, strict=True)
    ]
    if target.weigh is None:
        return found
    for lang, answers in wordings().openings.items():
        places = [
            at for at, (prompt, _, _) in enumerate(made)
            if prompt.lang == lang and found[at].fitness < 1
        ]  # fmt: skip
        if not places:
            continue
        shares = target.weigh([found[at].messages for at in places], answers)
        for at, share in zip(places, shares, strict=True):
            # Below 1 whatever the rounding: only a reply is a success.
            found[at] = replace(found[at], fitness=0.999 * share[0] if share else 0.0)
    return found
