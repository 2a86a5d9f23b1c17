"""Who may say what, once: S-24 and R-20."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.review.desk import Choice, Decision, Desk, RefusedError
from burnish.review.items import Item
from burnish.review.queue import Placed, ReviewSettings

from .desks import say, turn


def item(number: int, **more: object) -> Item:
    return Item(id=f"i{number}", artifact="a@1", round=1, prompt=[turn("Q?")], first="a",
                second="b", **more)  # type: ignore[arg-type]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Two items for one reviewer, one for two, one for all; ann and bob review."""
    with Desk(tmp_path / "review.sqlite") as desk:
        people = (1, 1, 2, None)
        placed = [Placed(item(number), count) for number, count in enumerate(people)]
        assert desk.add(placed, ReviewSettings(bound=0.6)) == 4
        desk.add_reviewer(" ann ")
        desk.add_reviewer("bob")
        yield desk


def ids(items: list[Item]) -> list[str]:
    return [one.id for one in items]


def refused(desk: Desk, who: str, name: str, choice: Choice = "first", key: str = "k") -> str:
    with pytest.raises(RefusedError) as caught:
        desk.decide(who, Decision(item=name, choice=choice, key=key))
    last = desk.audit()[-1]
    assert (last["who"], last["action"]) == (who, "decide")
    assert json.loads(last["detail"])["refused"] == caught.value.kind
    return caught.value.kind


def test_an_item_is_for_as_many_as_it_says(desk: Desk) -> None:
    assert ids(desk.take("ann", 2)) == ["i0", "i1"]
    assert ids(desk.take("ann", 1, held=["i0", "i1"])) == ["i2"]
    assert ids(desk.take("bob", 9)) == ["i2", "i3"]
    desk.add_reviewer("cho")
    assert ids(desk.take("cho", 9)) == ["i3"]
    assert ids(desk.take("ann", 2)) == ["i0", "i1"]  # still there after the page was closed
    assert desk.left("ann") == 4
    assert desk.settings == ReviewSettings(bound=0.6)


def test_what_was_skipped_or_released_is_for_others(desk: Desk) -> None:
    first, second, *_ = desk.take("ann", 2)
    say(desk, "ann", first, "skip")
    assert ids(desk.take("bob", 1)) == ["i0"]
    assert ids(desk.take("ann", 1)) == [second.id]
    assert desk.release("ann") == 1
    assert "i1" in ids(desk.take("bob", 9))
    assert desk.cases()[0].votes == ()  # a skip is no vote


def test_forged_foreign_and_second_votes_are_refused(desk: Desk) -> None:  # S-24
    mine = desk.take("ann", 1)[0]
    assert refused(desk, "eve", mine.id) == "not_yours"
    assert refused(desk, "bob", mine.id) == "not_yours"
    assert refused(desk, "ann", "i1") == "not_yours"  # nobody gave it to her yet
    assert refused(desk, "ann", "nothing") == "unknown"
    say(desk, "ann", mine, "first")
    assert refused(desk, "ann", mine.id, "second") == "taken"
    assert [vote.choice for vote in desk.cases()[0].votes] == ["first"]
    with pytest.raises(RefusedError, match="no such decision"):
        desk.undo("bob", f"ann {mine.id}")


def test_the_same_key_is_one_decision(desk: Desk) -> None:
    mine = desk.take("ann", 1)[0]
    said = Decision(item=mine.id, choice="second", key="once", edited="better")
    found: list[bool] = []

    def send() -> None:
        with Desk(desk.path) as other:
            found.append(other.decide("ann", said))

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False] * 19 + [True]
    assert [(vote.choice, vote.edited) for vote in desk.cases()[0].votes] == [("second", "better")]
    assert refused(desk, "ann", mine.id, "first", "once") == "taken"
    assert sum(row["action"] == "decide" for row in desk.audit()) == 2


def test_undo_brings_the_item_back_and_keeps_the_trail(desk: Desk) -> None:
    mine = desk.take("ann", 1)[0]
    say(desk, "ann", mine, "first")
    key = f"ann {mine.id}"
    assert desk.undo("ann", key) == mine
    assert desk.undo("ann", key) == mine  # once is enough
    assert desk.cases()[0].votes == ()
    assert desk.decide("ann", Decision(item=mine.id, choice="tie", key="again"))
    done = [row["action"] for row in desk.audit()]
    assert done[-3:] == ["decide", "undo", "decide"]


def test_nothing_changes_after_the_lock(desk: Desk) -> None:  # S-24
    mine = desk.take("ann", 1)[0]
    say(desk, "ann", mine, "first")
    assert desk.lock([mine.id, "i2"], "round 2") == 2
    assert desk.lock([mine.id], "again") == 0
    with pytest.raises(RefusedError, match="locked") as caught:
        desk.undo("ann", f"ann {mine.id}")
    assert caught.value.kind == "locked"
    assert json.loads(desk.audit()[-1]["detail"])["refused"] == "locked"
    assert ids(desk.take("bob", 9)) == ["i1", "i3"]
    assert [vote.choice for vote in desk.cases()[0].votes] == ["first"]


def test_disagreement_is_settled_and_then_closed(desk: Desk) -> None:
    shared = {one.id: one for one in desk.take("ann", 9)}
    desk.take("bob", 9)
    say(desk, "ann", shared["i2"], "first")
    with pytest.raises(RefusedError, match="do not disagree"):
        desk.settle("i2", "first", None, "why not")
    say(desk, "bob", shared["i2"], "tie")
    assert [case.item.id for case in desk.cases() if case.disputed] == ["i2"]
    desk.settle("i2", "second", None, "read it again")
    (case,) = [case for case in desk.cases() if case.settled]
    assert case.settled is not None
    assert (case.settled.choice, case.settled.reason) == ("second", "read it again")
    assert not case.disputed
    with pytest.raises(RefusedError, match="locked"):
        desk.undo("ann", "ann i2")
    desk.lock(["i2"], "trained on")
    with pytest.raises(RefusedError, match="locked"):
        desk.settle("i2", "first", None, "changed my mind")


@pytest.mark.parametrize("name", ["", "  ", "a" * 41, "a\nb", "owner", "\u202e"])
def test_names_that_are_none(desk: Desk, name: str) -> None:
    with pytest.raises(InputError, match="name"):
        desk.add_reviewer(name)


@pytest.mark.parametrize("edited", ["", " \n", "x" * 20_001])
def test_edits_that_are_none(desk: Desk, edited: str) -> None:
    mine = desk.take("ann", 1)[0]
    with pytest.raises(InputError, match="edited"):
        desk.decide("ann", Decision(item=mine.id, choice="first", key="k", edited=edited))
    assert desk.cases()[0].votes == ()
