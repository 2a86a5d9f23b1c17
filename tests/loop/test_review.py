"""Two people review a round's pairs, and the next round trains on their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.loop.mini import write_recipe
from tests.review.desks import say

from burnish.config import InputError
from burnish.loop.check import check
from burnish.loop.recipe import load
from burnish.loop.run import run
from burnish.records import Preference
from burnish.review.desk import Desk, RefusedError, place
from burnish.review.open import fill
from burnish.review.queue import ReviewSettings
from burnish.stages.release.promote import register
from burnish.store import tables
from burnish.store.artifacts import ArtifactStore
from burnish.store.registry import Registry
from burnish.tracing.models import trace


def test_the_next_round_trains_on_what_people_decided(mini: tuple[Path, dict[str, Any]]) -> None:
    folder, value = mini
    stages = {
        "review": {
            "run": "curate.review", "last": "@review", "least": 3,
            "data": [value["round"]["dpo"]["data"][0]],
        },
        "dpo": value["round"]["dpo"] | {"data": ["@review/preferences.jsonl"], "heldout": 0},
    }  # fmt: skip
    recipe = {**value, "name": "reviewed", "round": stages, "figures": {},
              "rounds": {"count": 2, "champion": "@sft"}}  # fmt: skip
    loaded = load(write_recipe(folder, recipe))
    assert check(loaded) == []
    with pytest.raises(InputError, match=r"0 items decided .* at least 3 \(setting least\)"):
        run(loaded, folder / "runs")
    made = folder / "runs" / "reviewed"
    store = ArtifactStore(made)
    assert store.get("review", 1).details["machine_pairs"] == 40
    assert store.get("dpo", 1).details["pairs"] == 40

    assert fill(made, ReviewSettings(gold=0, spot=1, reviewers=2)) == 40
    with Desk(place(made)) as desk:
        for name in ("ann", "bob"):
            desk.add_reviewer(name)
        # Both find the machine wrong throughout, and ann knows better still.
        for name in ("ann", "bob"):
            for item in desk.take(name, 10):
                other = "second" if item.machine == "first" else "first"
                say(desk, name, item, other, f"edited {item.id}" if name == "ann" else None)
    run(loaded, folder / "runs")
    second = store.get("review", 2)
    assert (second.details["items"], second.details["new"]) == (10, 10)
    assert second.details["annotators"] == {"ann": 30, "bob": 10}
    assert second.details["machine_used"] is False  # its labels are not people's
    assert "review@2" in store.get("dpo", 2).parents
    assert store.get("dpo", 2).details["pairs"] == 30
    trained = tables.read(second.path / "preferences.jsonl", Preference)
    assert {one.annotators for one in trained} == {("ann",), ("ann", "bob")}
    best = [one.chosen[0]["content"] for one in trained if one.annotators == ("ann",)]
    assert all(text.startswith("edited ") for text in best)
    with Registry(folder / "runs" / "registry.sqlite") as registry:
        ref = register(registry, store, "dpo@2")
        assert trace(registry, ref).records["annotator"] == {"ann": 30, "bob": 10}
    with Desk(place(made)) as desk:  # S-24
        decided = next(case for case in desk.cases() if case.votes)
        assert decided.locked
        with pytest.raises(RefusedError, match="locked"):
            desk.undo("ann", f"ann {decided.item.id}")
