"""Every prompt in every strategy, turn by turn, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from burnish.records import Message, Prompt
from burnish.redteam.attempts import HARMFUL, Attempt, label, shortened
from burnish.redteam.search import NOTHING, Ask, Said, Target, WordingSearch, search
from burnish.redteam.strategies import (
    SEARCH,
    Strategy,
    ask_attacker,
    before,
    wordings,
    wrap,
)

Grade = Callable[[Sequence[tuple[Prompt, Said]]], list[float | None]]


@dataclass(eq=False)
class _Talk:
    """A conversation under way; no two are the same."""

    prompt: Prompt
    strategy: Strategy
    turns: list[str]
    messages: list[Message]
    steps: list[str] = field(default_factory=list)
    said: Said = NOTHING

    @property
    def name(self) -> str:
        return f"{self.strategy.name}:{self.prompt.id}"


@dataclass(frozen=True)
class Attacked:
    """Attempts in the order of strategies and prompts; how many of each strategy did not fit the
    model's context and were not made."""

    attempts: list[Attempt]
    too_long: Mapping[str, int]


def attack(
    target: Target,
    prompts: Sequence[Prompt],
    strategies: Sequence[str],
    settings: WordingSearch,
    *,
    held_out: Collection[str] = (),
    attacker: Ask | None = None,
    grade: Grade | None = None,
    seed: int = 0,
) -> Attacked:
    """Try harmful and harmless prompts alike; the search is for harmful ones alone.

    Args:
        prompts: labelled ones, with a single turn.
        held_out: strategies that the search must not use; on their own they are tried.
        attacker: a model that writes the turns which lead to the request, and words some of the
            search's children.
        grade: a judge of the replies to harmful prompts.
    """
    talks = [
        _Talk(prompt, strategy, turns, before(strategy, prompt.lang))
        for name in strategies
        if name != SEARCH
        for strategy in (wordings().strategies[name],)
        for prompt in prompts
        if (turns := wrap(strategy, prompt.messages[-1]["content"], prompt.lang))
    ]
    left = _talked(target, talks, attacker)
    too_long = Counter(talk.strategy.name for talk in {*talks} - {*left})
    rows = [(talk.prompt, talk.strategy.name, talk.messages, talk.said, len(talk.turns),
             tuple(talk.steps)) for talk in left]  # fmt: skip
    if SEARCH in strategies:
        goals = [prompt for prompt in prompts if label(prompt) == HARMFUL]
        found = search(target, goals, settings, held_out, attacker, seed)
        for prompt, best in zip(goals, found, strict=True):
            if best is None:
                too_long[SEARCH] += 1
            else:
                row = (prompt, SEARCH, best.messages, best.said, best.requests, best.steps)
                rows.append(row)
    attempts = [_attempt(*row) for row in rows]
    if grade is not None:
        harmful = [at for at, one in enumerate(attempts) if one.kind == HARMFUL]
        grades = grade([(rows[at][0], rows[at][3]) for at in harmful])
        for at, mark in zip(harmful, grades, strict=True):
            attempts[at] = replace(attempts[at], judged=True, grade=mark)
    return Attacked(attempts, too_long)


def _talked(target: Target, talks: Sequence[_Talk], attacker: Ask | None) -> list[_Talk]:
    """Hold all conversations, a turn of each at a time; those that came to their end."""
    left = list(talks)
    for turn in range(max((len(talk.turns) for talk in talks), default=0)):
        now = [talk for talk in left if turn < len(talk.turns)]
        for talk, content in zip(now, _worded(now, turn, attacker), strict=True):
            talk.messages.append({"role": "user", "content": content})
        long = {talk for talk in now if not target.fits(talk.messages)}
        left, now = ([talk for talk in some if talk not in long] for some in (left, now))
        asked = [(f"{talk.name}:{turn}", list(talk.messages)) for talk in now]
        for talk, said in zip(now, target.ask(asked) if asked else [], strict=True):
            talk.said = said
            if turn + 1 < len(talk.turns):
                talk.messages.append({"role": "assistant", "content": said.text})
    return left


def _worded(talks: Sequence[_Talk], turn: int, attacker: Ask | None) -> list[str]:
    """This turn of each conversation. A model writes those before the last, which has the request;
    where it says nothing, the template's stands."""
    texts = [talk.turns[turn] for talk in talks]
    leading = [at for at, talk in enumerate(talks) if turn + 1 < len(talk.turns)]
    if attacker is None or not leading:
        return texts
    asked = [
        (
            f"turn:{talks[at].name}:{turn}",
            ask_attacker(
                "next_turn",
                talks[at].prompt.lang,
                talks[at].prompt.messages[-1]["content"],
                "\n".join(f"{m['role']}: {m['content']}" for m in talks[at].messages) or "-",
            ),
        )
        for at in leading
    ]
    for at, said in zip(leading, attacker(asked), strict=True):
        if text := said.text.strip():
            texts[at] = text
            talks[at].steps.append(f"turn {turn + 1}: model")
    return texts


def _attempt(
    prompt: Prompt,
    strategy: str,
    messages: list[Message],
    said: Said,
    requests: int,
    steps: tuple[str, ...],
) -> Attempt:
    kind = label(prompt)
    assert kind is not None, "the stage lets labelled prompts through alone"
    # The reply is shortened as a turn of the assistant is.
    *turns, last = shortened([*messages, {"role": "assistant", "content": said.text}])
    return Attempt(
        prompt_id=prompt.id, kind=kind, strategy=strategy, lang=prompt.lang,
        category=prompt.category or prompt.topic or "-", source=prompt.source,
        group=prompt.group or prompt.id, messages=turns, reply=last["content"],
        finish=said.finish, requests=requests, steps=steps,
    )  # fmt: skip
