"""The quality pyramid 数据质量金字塔: tiers by share, between bounds of what machines wrote."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from burnish.config import InputError, Problem
from burnish.records import Tier
from burnish.selection.shares import divide

PYRAMID: dict[Tier, float] = {"expert": 0.05, "selected": 0.25, "bulk": 0.70}
"""The shares the seed asks for."""
SYNTHETIC = (0.7, 0.8)
"""The share of synthetic records the seed asks for."""
CURRICULUM: dict[Tier, int] = {"bulk": 0, "selected": 1, "expert": 2}
"""The order in which a curriculum goes through the tiers."""

Cell = tuple[Tier, bool]
"""A tier, and whether a machine wrote its records."""
Bounds = tuple[float, float]


@dataclass(frozen=True)
class TierReport:
    """Counts and shares by tier beside the wanted shares, and the share that a machine wrote."""

    counts: dict[Tier, int]
    shares: dict[Tier, float]
    wanted: dict[Tier, float]
    synthetic: float


def tier_report(
    found: Mapping[Cell, int], wanted: Mapping[Tier, float] | None = None
) -> TierReport:
    """The quality pyramid of records counted by cell (wanted: 5 / 25 / 70 % unless given)."""
    wanted = dict(wanted or PYRAMID)
    counts: Counter[Tier] = Counter()
    for (tier, _), count in found.items():
        counts[tier] += count
    total = max(1, counts.total())
    return TierReport(
        counts={tier: counts[tier] for tier in wanted},
        shares={tier: counts[tier] / total for tier in wanted},
        wanted=wanted,
        synthetic=sum(count for (_, machine), count in found.items() if machine) / total,
    )


@dataclass(frozen=True)
class Shortage:
    """A mix needs ``wanted`` of ``what``, and there are ``there`` that it can use."""

    what: str
    wanted: int
    there: int

    def problem(self, total: int) -> Problem:
        """What is short and by how much."""
        missing = self.wanted - self.there
        expected = f"a mix of {total} takes {self.wanted}: {missing} more are needed"
        found = f"{self.there} {self.what} can be used"
        return Problem("", None, "tiers", found, expected)


def plan_tiers(
    available: Mapping[Cell, int],
    wanted: Mapping[Tier, float],
    total: int,
    synthetic: Bounds | None = None,
) -> tuple[dict[Cell, int], list[Shortage]]:
    """How many records of each cell make a mix of ``total``, and what is short of them.

    A tier is drawn from as it is, so that its synthetic share stays what it was, unless the mix
    as a whole would leave the bounds; then the largest tier gives way first.

    Args:
        available: records of each cell.
        wanted: shares of the tiers; they need not sum to 1.
        synthetic: least and largest share of synthetic records, both inclusive.
    """
    counts = divide(wanted, total)
    there = {t: (available.get((t, False), 0), available.get((t, True), 0)) for t in counts}
    short = [
        Shortage(f"records of tier {tier!r}", counts[tier], sum(there[tier]))
        for tier in counts
        if counts[tier] > sum(there[tier])
    ]
    if short:
        return {}, short
    least = {tier: max(0, counts[tier] - human) for tier, (human, _) in there.items()}
    most = {tier: min(counts[tier], machine) for tier, (_, machine) in there.items()}
    natural = {
        tier: round(counts[tier] * machine / max(1, human + machine))
        for tier, (human, machine) in there.items()
    }
    chosen = {tier: min(max(natural[tier], least[tier]), most[tier]) for tier in counts}
    if synthetic is not None:
        low = math.ceil(synthetic[0] * total - 1e-9)
        # In a mix of a few no whole number may lie between the bounds.
        high = max(low, math.floor(synthetic[1] * total + 1e-9))
        if sum(most.values()) < low:
            short.append(Shortage("synthetic records", low, sum(most.values())))
        if sum(least.values()) > high:
            short.append(Shortage("human records", total - high, total - sum(least.values())))
        change = min(max(sum(chosen.values()), low), high) - sum(chosen.values())
        for tier in sorted(counts, key=lambda tier: -counts[tier]):
            moved = min(max(chosen[tier] + change, least[tier]), most[tier])
            change -= moved - chosen[tier]
            chosen[tier] = moved
    parts = [((tier, True), chosen[tier]) for tier in counts]
    parts += [((tier, False), counts[tier] - chosen[tier]) for tier in counts]
    return dict(parts), short


def tier_counts(
    available: Mapping[Cell, int],
    wanted: Mapping[Tier, float],
    total: int | None = None,
    synthetic: Bounds | None = None,
) -> dict[Cell, int]:
    """Records of each cell in a mix of ``total``, or in the largest mix that there is.

    Raises:
        InputError: what is short, and by how much.
    """
    if total is None:
        shares = {tier: share for tier, share in wanted.items() if share > 0}
        sizes = {tier: sum(available.get((tier, s), 0) for s in (False, True)) for tier in shares}
        empty = [tier for tier in shares if not sizes[tier]]
        if empty:
            problems = [
                Problem("", None, "tiers", f"no records of tier {tier!r}") for tier in empty
            ]
            raise InputError(problems)
        whole = sum(shares.values())
        enough, limit = 0, int(min(sizes[t] * whole / share for t, share in shares.items())) + 2
        while limit - enough > 1:
            middle = (enough + limit) // 2
            if plan_tiers(available, wanted, middle, synthetic)[1]:
                limit = middle
            else:
                enough = middle
        # Where no mix is possible, the smallest one says what is short.
        total = max(1, enough)
    counts, short = plan_tiers(available, wanted, total, synthetic)
    if short:
        raise InputError([shortage.problem(total) for shortage in short])
    return counts
