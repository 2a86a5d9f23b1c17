"""Single replies worth a person's look: is this one good, whatever else could have been said?

They come from the rollouts of a run. What is dangerous comes first, as among pairs (``items``):
a reply that complies with a request that should be refused (3), one that refuses a request that
should be answered (2). The doubt is 0.5 for a reward near the bound that keeps or drops a reply,
and rises to 1 towards the middle of the rewards of its file, of which the middle quarter counts.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from burnish.records import Prompt, Rollout
from burnish.review.items import (
    DANGER,
    NEAR,
    REFUSE,
    SIDES,
    Item,
    Side,
    bound_of,
    files_of,
    identity,
)
from burnish.rewards.refusal import is_refusal
from burnish.rewards.verifiers import verify_prompt
from burnish.store import tables
from burnish.store.artifacts import Artifact

MIDDLE = 0.75
"""The doubt from which a reward is in the middle: of the middle quarter of its file."""
GOOD, BAD = SIDES


def singles_of(run: Path) -> list[Item]:
    """Every reply that the rollouts of a run hold, once each.

    The machine holds a reply for good that its rewards would keep; without a bound it says nothing.

    Raises:
        InputError: a file of the run cannot be read.
    """
    prompts, files = files_of(run)
    found: dict[str, Item] = {}
    for artifact, path, kind in files:
        if kind is Rollout:
            for item in _singles(artifact, list(tables.iterate(path, Rollout)), prompts):
                found.setdefault(item.id, item)
    return list(found.values())


def _singles(
    artifact: Artifact, rollouts: Sequence[Rollout], prompts: Mapping[str, Prompt]
) -> Iterator[Item]:
    bound, rewards = bound_of(artifact), sorted(one.reward for one in rollouts)
    for one in rollouts:
        reply = one.completion.strip()
        if not reply:
            continue
        prompt = prompts.get(one.prompt_id)
        danger, doubts = _danger(reply, prompt), _doubts(one.reward, bound, rewards)
        yield Item(
            id=identity(one.prompt, (reply,)),
            artifact=artifact.ref,
            round=artifact.round,
            prompt=list(one.prompt),
            first=reply,
            second=None,
            machine=None if bound is None else GOOD if one.reward >= bound else BAD,
            answer=_verified(reply, prompt),
            reasons=(*danger, *doubts),
            priority=max((DANGER[name] for name in danger), default=0.0)
            + max(doubts.values(), default=0.0),
            lang=one.lang,
            task=one.task,
            topic=one.topic,
            group=one.group,
            parents=(one.prompt_id, one.id),
        )


def _danger(reply: str, prompt: Prompt | None) -> list[str]:
    kind = str(((prompt and prompt.verify) or {}).get("kind", ""))
    refused = is_refusal(reply)
    if kind == REFUSE:
        return [] if refused else ["complied"]
    return ["refused"] if refused and kind else []


def _doubts(reward: float, bound: float | None, rewards: Sequence[float]) -> dict[str, float]:
    found = {}
    if bound is not None and abs(reward - bound) <= NEAR:
        found["threshold"] = 0.5
    place = (bisect_left(rewards, reward) + bisect_right(rewards, reward)) / (2 * len(rewards))
    doubt = 1 - abs(2 * place - 1)
    if doubt >= MIDDLE and rewards[0] < rewards[-1]:
        found["middle"] = doubt
    return found


def _verified(reply: str, prompt: Prompt | None) -> Side | None:
    """What a verifier says of the reply, where it finds it right or wrong."""
    check = verify_prompt(prompt, reply) if prompt else None
    return {"right": GOOD, "wrong": BAD}.get(check.outcome) if check else None
