"""What training takes from a desk on which people go on deciding."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.stages.fits import context

from burnish.records import Preference
from burnish.review.desk import Desk, place
from burnish.review.open import fill
from burnish.review.queue import ReviewSettings
from burnish.stages.base import Inputs
from burnish.stages.curate import review
from burnish.store import tables
from burnish.store.names import SEEN

from .desks import make_run, pair, say


def test_what_was_decided_before_the_lock_is_taken_whole_and_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # S-24
    run = make_run(tmp_path / "run", [pair(n, f"a{n}", f"b{n}", probability=0.6) for n in range(3)])
    assert fill(run, ReviewSettings(gold=0, spot=0, overlap=0)) == 3
    with Desk(place(run)) as desk:
        desk.add_reviewer("ann")
        first, second, _ = desk.take("ann", 3)
        say(desk, "ann", first, "first")
    lock, late = Desk.lock, [second]

    def decided_meanwhile(desk: Desk, items: Sequence[str], reason: str) -> int:
        if late:
            say(desk, "ann", late.pop(), "second")
        return lock(desk, items, reason)

    monkeypatch.setattr(Desk, "lock", decided_meanwhile)
    here = context(run)
    outcome = review.run(review.Config(machine="never"), Inputs({}), here)
    assert outcome.details["items"] == outcome.details["new"] == outcome.details["pairs"] == 2
    seen = json.loads((here.output / SEEN).read_text(encoding="utf-8"))["items"]
    assert set(seen) == {first.id, second.id}
    assert len(tables.read(here.output / "preferences.jsonl", Preference)) == 2
    with Desk(place(run)) as desk:
        assert {case.item.id for case in desk.cases() if case.locked} == set(seen)
