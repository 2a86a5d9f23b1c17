from __future__ import annotations

import pytest

from burnish.config import InputError
from burnish.records import Tier
from burnish.selection.pyramid import (
    PYRAMID,
    SYNTHETIC,
    Cell,
    Shortage,
    plan_tiers,
    tier_counts,
    tier_report,
)


def test_tier_report() -> None:
    counts: dict[Tier, int] = {"expert": 10, "selected": 50, "bulk": 70}
    report = tier_report({(tier, tier != "expert"): count for tier, count in counts.items()})
    assert report.counts == counts
    assert report.shares["bulk"] == pytest.approx(70 / 130)
    assert report.synthetic == pytest.approx(120 / 130)


def cells(expert: tuple[int, int], selected: tuple[int, int], bulk: tuple[int, int]):  # type: ignore[no-untyped-def]
    """(human, synthetic) records of each tier."""
    given = {"expert": expert, "selected": selected, "bulk": bulk}
    return {(tier, bool(k)): pair[k] for tier, pair in given.items() for k in (0, 1)}


def by_tier(counts: dict[Cell, int]) -> dict[Tier, int]:
    return {tier: counts[tier, False] + counts[tier, True] for tier in PYRAMID}


def test_the_largest_mix_is_bound_by_the_scarcest_tier() -> None:
    there = cells((10, 0), (0, 50), (0, 70))
    # bulk is the scarce one: 70 / 0.7 = 100 records, of them 5 expert and 25 selected
    assert by_tier(tier_counts(there, PYRAMID)) == {"expert": 5, "selected": 25, "bulk": 70}
    # of expert records 4: a mix of 89 takes 4 (4.45), one of 90 5 (4.5)
    found = by_tier(tier_counts(cells((4, 0), (0, 50), (0, 700)), PYRAMID))
    assert found["expert"] == 4
    assert sum(found.values()) in range(80, 91)


def test_a_shortage_says_which_tier_and_by_how_much() -> None:
    there = cells((3, 0), (0, 50), (0, 60))
    assert plan_tiers(there, PYRAMID, 100)[1] == [
        Shortage("records of tier 'expert'", 5, 3),
        Shortage("records of tier 'bulk'", 70, 60),
    ]
    with pytest.raises(InputError, match="a mix of 100 takes 70: 10 more are needed"):
        tier_counts(there, PYRAMID, 100)
    with pytest.raises(InputError, match="no records of tier 'expert'"):
        tier_counts(cells((0, 0), (0, 5), (0, 5)), PYRAMID)


@pytest.mark.parametrize(
    ("bulk", "synthetic"),
    # natural shares of bulk: 70, 56, 49, 42, 7; with 25 of selected 95, 81, 74, 67, 32
    [((0, 100), None), ((20, 80), 80), ((30, 70), 74), ((60, 90), 70), ((90, 10), None)],
)
def test_the_synthetic_share_stays_within_its_bounds(
    bulk: tuple[int, int], synthetic: int | None
) -> None:
    there = cells((10, 0), (0, 50), bulk)
    if synthetic is None:
        with pytest.raises(InputError, match=r"(human|synthetic) records can be used"):
            tier_counts(there, PYRAMID, 100, SYNTHETIC)
        return
    counts = tier_counts(there, PYRAMID, 100, SYNTHETIC)
    assert by_tier(counts) == {"expert": 5, "selected": 25, "bulk": 70}
    assert sum(count for (_, machine), count in counts.items() if machine) == synthetic
    assert all(count <= there[cell] for cell, count in counts.items())


def test_the_bounds_also_limit_the_largest_mix() -> None:
    # 20 % human of N: expert gives 5 % of them, so bulk has to give 15 %, and it has 15: N = 100
    found = tier_counts(cells((100, 0), (0, 500), (15, 700)), PYRAMID, None, SYNTHETIC)
    assert sum(found.values()) in (100, 101, 102)
    assert found["bulk", False] == 15
