"""A model that says the same whatever it is asked; some tasks would reward it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from burnish.evals.tasks import Response
from burnish.records import content_id
from burnish.rewards.matching import normalise


@dataclass(frozen=True)
class Commonest:
    """The reply given most often: to ``share`` of ``conversations`` different ones."""

    reply: str
    share: float
    conversations: int


def commonest(responses: Sequence[Response]) -> Commonest:
    """The commonest of the replies that a model wrote, each conversation counted once.

    Case and punctuation make no difference, so that all empty replies and bare signs are one.
    Options chosen by likelihood are no replies.
    """
    said = {content_id(one.messages): one.reply for one in responses if not one.options}
    counts = Counter(normalise(reply) for reply in said.values())
    if not counts:
        return Commonest("", 0.0, 0)
    words, times = counts.most_common(1)[0]
    reply = next(reply for reply in said.values() if normalise(reply) == words)
    return Commonest(reply, times / len(said), len(said))
