"""The benchmark of a constitution: what it calls a fall, and that it trains on nothing held out."""

from __future__ import annotations

import pytest
from benchmarks.constitution import ARMS, SETS, change, fall, share, stages


def test_a_fall_is_a_share_of_what_there_was() -> None:
    # Values are 1 where the reply was the wanted one; the page shows the others.
    start = {f"i{n}": float(n < 2) for n in range(10)}  # 8 of 10 complied with
    after = {f"i{n}": float(n < 8) for n in range(10)}  # 2 of 10
    value, shown = fall(start, after, {})
    assert value == pytest.approx(0.75)
    assert shown.startswith("75 % [")
    assert share(after, {}).startswith("20.0 [")
    assert change(start, after, {}).startswith("-60.0 [")


def test_every_arm_is_measured_on_items_that_none_is_trained_on() -> None:
    found = stages()
    assert {f"measure_{arm}" for arm in ARMS} <= set(found)
    for name, stage in found.items():
        files = str({key: value for key, value in stage.items() if key != "tasks"})
        assert not any(word in files for word in ("/eval/", "/dev/", *SETS)), name
