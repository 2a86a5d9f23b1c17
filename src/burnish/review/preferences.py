"""Decisions as records to train on: preferences, and feedback on single replies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from burnish.records import Feedback, Message, Preference, content_id
from burnish.review.desk import OWNER, Case
from burnish.review.items import SIDES, Item

OTHER = {"first": "second", "second": "first"}
GOOD = SIDES[0]
"""What a single reply is called that is good."""


@dataclass(frozen=True)
class Exported:
    """The pairs, the single replies that were called good or bad, the items that they are from, and
    why others gave none (``left_out``)."""

    pairs: list[Preference]
    replies: list[Feedback]
    items: list[str]
    left_out: dict[str, int]


def exported(
    cases: Sequence[Case], reviewers: int, without: frozenset[str] = frozenset()
) -> Exported:
    """All decisions that stand, as records with their annotators.

    An edited reply is better than the chosen one, and that better than the rejected one: each of
    these pairs is a record. A single reply is one whatever is said of it, and an edited one better
    than it. Reviewers who agree stand in one record together. An item gives nothing
    while reviewers disagree on it, while not all whom it is for have decided, and where they find
    neither reply of a pair better.

    Args:
        reviewers: how many there are.
        without: reviewers whose decisions do not count.
    """
    pairs: dict[str, Preference] = {}
    judged: list[Feedback] = []
    items: list[str] = []
    left_out: Counter[str] = Counter()
    for case in cases:
        reason, ordered = _orders(case, reviewers - len(without), without)
        if reason:
            left_out[reason] += 1
            continue
        items.append(case.item.id)
        before = len(pairs)
        if case.item.single:
            judged.append(_feedback(case, [name for _, who in ordered for name in who]))
        for replies, who in ordered:
            for better, worse in combinations(replies, 2):
                one = _preference(case.item, better, worse, who)
                known = pairs.get(one.id, one).annotators
                pairs[one.id] = replace(one, annotators=tuple(dict.fromkeys((*known, *who))))
        left_out["tie"] += len(pairs) == before and not case.item.single
    return Exported(list(pairs.values()), judged, items, dict(+left_out))


def _orders(
    case: Case, reviewers: int, without: frozenset[str]
) -> tuple[str, list[tuple[list[str], tuple[str, ...]]]]:
    """Why a case gives nothing, or replies from best to worst with who said so."""
    votes = [vote for vote in case.votes if vote.reviewer not in without]
    if case.item.kind == "gold":
        return "gold", []
    if case.settled is not None:
        agreeing = [vote.reviewer for vote in votes if vote.choice == case.settled.choice]
        who = (OWNER, *agreeing)
        return "", _ranked(case.item, case.settled.choice, case.settled.edited, who)
    if not votes:
        return "unreliable" if case.votes else "undecided", []
    if len({vote.choice for vote in votes}) > 1:
        return "disputed", []
    if len(votes) < min(case.people or 1, max(reviewers, 1)):
        return "incomplete", []
    return "", [
        row
        for vote in votes
        for row in _ranked(case.item, vote.choice, vote.edited, (vote.reviewer,))
    ]


def _ranked(
    item: Item, choice: str, edited: str | None, who: tuple[str, ...]
) -> list[tuple[list[str], tuple[str, ...]]]:
    best = [] if edited is None or edited in (item.first, item.second) else [edited]
    if item.second is None:
        return [([*best, item.first], who)]
    replies = {"first": item.first, "second": item.second}
    if choice in OTHER:
        return [([*best, replies[choice], replies[OTHER[choice]]], who)]
    return [([*best, reply], who) for reply in replies.values() if best]


def _feedback(case: Case, who: Sequence[str]) -> Feedback:
    item = case.item
    word = case.settled or next(vote for vote in case.votes if vote.reviewer in who)
    good = word.choice == GOOD
    return Feedback(
        id=content_id("review", item.prompt, item.first, good),
        source=f"review:{item.artifact}",
        lang=item.lang,
        tier="expert",
        synthetic=True,
        parents=item.parents,
        prompt=item.prompt,
        completion=[Message(role="assistant", content=item.first)],
        label=good,
        annotators=tuple(dict.fromkeys(who)),
        task=item.task,
        topic=item.topic,
        group=item.group,
    )


def _preference(item: Item, better: str, worse: str, who: tuple[str, ...]) -> Preference:
    return Preference(
        id=content_id("review", item.prompt, better, worse),
        source=f"review:{item.artifact}",
        lang=item.lang,
        tier="expert",
        synthetic=better in (item.first, item.second),
        parents=item.parents,
        prompt=item.prompt,
        chosen=[Message(role="assistant", content=better)],
        rejected=[Message(role="assistant", content=worse)],
        annotators=who,
        task=item.task,
        topic=item.topic,
        group=item.group,
    )
