"""The pool of the selection benchmark is damaged as its page says."""

from __future__ import annotations

from collections import Counter

from benchmarks.selection import CALIBRATION, SHIPPED, TRUSTED, auc, make_pool

from burnish.records import Example
from burnish.store import tables


def test_the_pool_is_damaged_in_known_shares() -> None:
    shipped = {one.id: one for one in tables.read(SHIPPED / "sft.jsonl.gz", Example)}
    pool = make_pool(3)
    rest = len(shipped) - TRUSTED
    counts = Counter(pool.kind[one.id] for one in pool.records)
    assert counts["wrong"] == round(0.15 * rest)
    assert counts["cut"] == counts["off_topic"] == round(0.1 * rest)
    assert counts["copy"] == 500
    assert counts["clean"] == rest - counts["wrong"] - counts["cut"] - counts["off_topic"]
    assert len(pool.trusted) == TRUSTED > CALIBRATION
    assert not {one.id for one in pool.trusted} & {one.id for one in pool.records}
    for one in pool.records:
        if pool.kind[one.id] == "copy":
            continue
        same = one.messages == shipped[one.id].messages
        assert same == (pool.kind[one.id] == "clean")
        assert one.messages[0] == shipped[one.id].messages[0]
    assert make_pool(3) == pool
    assert make_pool(4).records != pool.records


def test_auc_by_hand() -> None:
    # of six pairs four are in order and one is a tie
    assert auc([3.0, 2.0], [1.0, 2.0, 2.5]) == 4.5 / 6
