"""Training prompts of attempts, and the strategies that training never sees."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from burnish.records import Prompt, content_id
from burnish.redteam.attempts import BENIGN, HARMFUL, Attempt, Kind


def training_prompts(attempts: Sequence[Attempt], held_out: Collection[str]) -> list[Prompt]:
    """The attacks that worked, as prompts to be refused; none of a strategy that is held out.

    Nor of a search that used such a strategy on its way.
    """
    return [
        _prompt(one, HARMFUL)
        for one in attempts
        if one.kind == HARMFUL and one.succeeded and not _held_out(one, held_out)
    ]


def contrast_prompts(attempts: Sequence[Attempt], held_out: Collection[str]) -> list[Prompt]:
    """Harmless prompts in the wordings that attacks worked in, to be answered.

    Of each such strategy as many as attacks worked, those that were refused first: without them a
    model learns to decline the wording rather than the request.
    """
    found = []
    worked = [one for one in attempts if one.kind == HARMFUL and one.succeeded]
    for name in dict.fromkeys(one.strategy for one in worked):
        benign = [
            one for one in attempts
            if (one.kind, one.strategy) == (BENIGN, name) and not _held_out(one, held_out)
        ]  # fmt: skip
        benign.sort(key=lambda one: (not one.refused, content_id(one.prompt_id, name)))
        found += benign[: sum(one.strategy == name for one in worked)]
    return [_prompt(one, BENIGN) for one in found]


def _held_out(one: Attempt, held_out: Collection[str]) -> bool:
    return bool({one.strategy, *one.steps} & set(held_out))


def _prompt(one: Attempt, kind: Kind) -> Prompt:
    return Prompt(
        id=content_id("redteam", one.prompt_id, one.strategy, one.messages),
        source=f"redteam:{one.strategy}",
        lang=one.lang,
        tier="selected",
        synthetic=True,
        parents=(one.prompt_id,),
        messages=one.messages,
        task="safety",
        topic="harmful" if kind == HARMFUL else "benign",
        verify={"kind": kind},
        group=one.group,
        category=one.category,
    )
