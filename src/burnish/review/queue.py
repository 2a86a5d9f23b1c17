"""Which items come on the desk, and in which order."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from pydantic import Field, PositiveInt

from burnish.config import Settings
from burnish.records import content_id
from burnish.review.items import Item

WHOLE = 2**64
T = TypeVar("T")


class ReviewSettings(Settings):
    """What comes on the desk.

    At most ``most`` items a round: a share ``gold`` has a known answer and tells how reliable a
    reviewer is; of the others a share ``spot`` is drawn by chance from what the machine labelled
    and tells whether its labels may be used; the rest are the most dangerous and the most doubtful.
    Everybody gets the gold items. Spot checks and a share ``overlap`` of the rest go to
    ``reviewers`` people each, so that their agreement is known; what is left goes to one. Reviewers
    whose gold answers are right less often than ``bound``, beyond chance, are named, and what they
    decided is not used. A share ``singles`` of the items are single replies, to be called good or
    bad; their gold items are replies that a verifier decides.
    """

    most: PositiveInt = 500
    gold: float = Field(0.1, ge=0, le=0.5)
    spot: float = Field(0.2, ge=0, le=1)
    overlap: float = Field(0.2, ge=0, le=1)
    singles: float = Field(0.0, ge=0, le=1)
    reviewers: int = Field(2, ge=2)
    bound: float = Field(0.7, ge=0, le=1)
    seed: int = 0


@dataclass(frozen=True)
class Placed:
    """An item on the desk: how many people it is for (None for all)."""

    item: Item
    people: int | None


def lay_out(
    pairs: Sequence[Item], singles: Sequence[Item], gold: Sequence[Item], settings: ReviewSettings
) -> list[Placed]:
    """``arrange`` pairs and single replies, each with their own checks, and spread the single ones
    among the pairs. Where there are too few of one kind the other does not take their place."""
    alone = round(settings.singles * settings.most)
    placed = []
    for items, known, count in ((pairs, gold, settings.most - alone), (singles, [], alone)):
        if items and count:
            own = settings.model_copy(update={"most": count})
            placed.append(arrange(items, known, own))
    return _mixed(placed, random.Random(settings.seed), lambda one: one.item.id)


def arrange(items: Sequence[Item], gold: Sequence[Item], settings: ReviewSettings) -> list[Placed]:
    """Choose items and mix them: gold and spot checks stand evenly among the critical ones.

    Args:
        items: all candidates.
        gold: items with a known answer; without any they are taken from ``items``, where a
            verifier finds one reply right and the other wrong.
    """
    rng = random.Random(content_id("review", settings.seed, sorted(one.id for one in items)))
    known = [*gold] or [
        replace(one, kind="gold", machine=None, reasons=("gold",))
        for one in items
        if one.answer and not one.priority
    ]
    known = _drawn(known, round(settings.gold * settings.most), rng)
    taken = {one.id for one in known}
    rest = [one for one in items if one.id not in taken]
    labelled = [one for one in rest if one.machine is not None]
    room = min(settings.most - len(known), len(rest))
    spot = _drawn(labelled, round(settings.spot * room), rng)
    taken = {one.id for one in spot}
    ranked = sorted(
        (one for one in rest if one.id not in taken and one.reasons),
        key=lambda one: (-one.priority, one.id),
    )
    critical = ranked[: room - len(spot)]
    spot = [replace(one, kind="spot", reasons=("spot",)) for one in spot]
    mixed = _mixed([critical, spot, known], rng, lambda one: one.id)
    return [Placed(one, _people(one, settings)) for one in mixed]


def _drawn(items: Sequence[Item], count: int, rng: random.Random) -> list[Item]:
    ordered = sorted(items, key=lambda one: one.id)
    return rng.sample(ordered, min(count, len(ordered)))


def _mixed(groups: Sequence[Sequence[T]], rng: random.Random, name: Callable[[T], str]) -> list[T]:
    """All items, each group in its own order and spread over the whole; nobody can count ahead."""
    placed = [
        ((at + rng.random()) / len(group), item)
        for group in groups
        for at, item in enumerate(group)
    ]
    return [item for _, item in sorted(placed, key=lambda one: (one[0], name(one[1])))]


def _people(item: Item, settings: ReviewSettings) -> int | None:
    if item.kind == "gold":
        return None
    share = int(content_id("overlap", settings.seed, item.id), 16) / WHOLE
    return settings.reviewers if item.kind == "spot" or share < settings.overlap else 1
