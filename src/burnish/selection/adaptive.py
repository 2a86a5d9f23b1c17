"""Adaptive shares (自适应): topics where the last evaluation was weak get more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.records import Figure
from burnish.selection.shares import divide


@dataclass(frozen=True)
class Share:
    """A topic's part of what is made: its last score where there is one, its share, its count."""

    topic: str
    score: Figure | None
    share: float
    count: int


def plan(
    topics: Sequence[str],
    scores: Mapping[str, Figure],
    total: int,
    least: float = 0.5,
    limits: Mapping[str, int] | None = None,
) -> list[Share]:
    """Divide ``total`` among topics: ``least`` of it evenly, the rest in proportion to weakness.

    Weakness is 1 minus the score; a topic without a score has the mean weakness of the others.
    Where none has any, or nothing was measured, all shares are equal.

    Args:
        least: a topic's share is at least this part of an equal one; from 0 to 1.
        limits: the most that a topic can give; what is over goes to the others.

    Raises:
        ValueError: ``least`` is outside 0 to 1.
    """
    if not 0 <= least <= 1:
        raise ValueError(f"least must be from 0 to 1, found {least}")
    known = {
        topic: min(1.0, max(0.0, 1 - scores[topic].value))
        for topic in topics
        if topic in scores and not math.isnan(scores[topic].value)
    }
    typical = sum(known.values()) / len(known) if known else 1.0
    weakness = {topic: known.get(topic, typical) for topic in topics}
    whole = sum(weakness.values())
    even = 1 / len(topics) if topics else 0.0
    shares = {
        topic: least * even + (1 - least) * (value / whole if whole else even)
        for topic, value in weakness.items()
    }
    counts = divide(shares, total, limits)
    return [
        Share(topic, scores[topic] if topic in known else None, shares[topic], counts[topic])
        for topic in topics
    ]
