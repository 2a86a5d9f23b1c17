"""What follows from decisions: records to train on, agreement, reliable reviewers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from burnish.review.desk import Case, Choice, Settled, Vote
from burnish.review.figures import (
    among_people,
    label_rows,
    progress,
    reviewers,
    unreliable,
    with_machine,
)
from burnish.review.items import Item
from burnish.review.preferences import exported

from .desks import turn


def case(
    number: int,
    votes: Mapping[str, Choice],
    people: int | None = 2,
    edited: str | None = None,
    settled: Settled | None = None,
    **more: object,
) -> Case:
    item = Item(id=f"i{number}", artifact="generate@1", round=1, prompt=[turn(f"Q{number}")],
                first="a", second="b", machine="first", parents=(f"p{number}",),
                **more)  # type: ignore[arg-type]  # fmt: skip
    said = tuple(Vote(who, choice, edited, 12.0, 1) for who, choice in votes.items())
    return Case(item, people, False, said, settled)


def orders(cases: list[Case], count: int = 2) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (one.chosen[0]["content"], one.rejected[0]["content"], one.annotators)
        for one in exported(cases, count).pairs
    ]


def test_edited_over_chosen_over_rejected() -> None:
    found = orders([case(1, {"ann": "second"}, 1, "c")])
    assert found == [("c", "b", ("ann",)), ("c", "a", ("ann",)), ("b", "a", ("ann",))]
    assert orders([case(1, {"ann": "tie"}, 1, "c")]) == [
        ("c", "a", ("ann",)), ("c", "b", ("ann",)),
    ]  # fmt: skip
    # An edit that changed nothing is no third reply.
    assert orders([case(1, {"ann": "second"}, 1, "b")]) == [("b", "a", ("ann",))]


def test_who_agrees_stands_together_and_provenance_is_kept() -> None:
    found = exported([case(1, {"ann": "first", "bob": "first"})], 2)
    (one,) = found.pairs
    assert (one.annotators, one.source, one.tier) == (("ann", "bob"), "review:generate@1", "expert")
    assert one.parents == ("p1",)
    assert one.synthetic
    assert found.items == ["i1"]


def test_what_gives_no_pair_is_counted() -> None:
    cases = [
        case(1, {"ann": "first", "bob": "second"}),
        case(2, {"ann": "first"}),
        case(3, {}),
        case(4, {"ann": "tie", "bob": "tie"}),
        case(5, {"ann": "first"}, None, kind="gold"),
    ]
    found = exported(cases, 2)
    assert found.pairs == []
    assert found.left_out == {"disputed": 1, "incomplete": 1, "undecided": 1, "tie": 1, "gold": 1}
    assert found.items == ["i4"]  # that neither is better is a decision too
    # With one reviewer there is nobody else to wait for.
    assert orders(cases[1:2], 1) == [("a", "b", ("ann",))]


def test_what_was_settled_counts_in_place_of_votes() -> None:
    word = Settled("second", None, "owner", "read again")
    found = orders([case(1, {"ann": "first", "bob": "second"}, settled=word)])
    assert found == [("b", "a", ("owner", "bob"))]


def gold(right: int, wrong: int) -> list[Case]:
    return [
        case(n, {"ann": "first" if n < right else "second"}, None, kind="gold", answer="first")
        for n in range(right + wrong)
    ]


def test_reviewers_below_the_bound_are_named_and_left_out() -> None:
    (one,) = reviewers(gold(2, 8), ["ann"], 0.7)
    # Wilson's interval for 2 of 10: centre (0.2 + 1.96^2/20) / (1 + 1.96^2/10) = 0.2832.
    assert one.right.value == pytest.approx(0.2)
    assert one.right.high == pytest.approx(0.5098, abs=1e-4)
    assert one.unreliable
    assert (one.decided, one.seconds, one.an_hour) == (10, 12.0, 300)
    assert not reviewers(gold(0, 1), ["ann"], 0.7)[0].unreliable  # one mistake may be chance
    assert not reviewers([], ["bob"], 0.7)[0].unreliable
    cases = [*gold(2, 8), case(50, {"ann": "first"}, 1), case(51, {"ann": "tie", "bob": "first"})]
    found = exported(cases, 2, unreliable(cases, 0.7))
    assert [one.annotators for one in found.pairs] == [("bob",)]
    assert found.left_out["unreliable"] == 1


def test_the_machine_is_held_against_spot_checks_alone() -> None:
    wrong = [case(n, {"ann": "second", "bob": "second"}) for n in range(20)]
    sides: list[Choice] = ["first", "second"]
    spots = [
        case(100 + n, dict.fromkeys(("ann", "bob"), sides[n % 2]), kind="spot") for n in range(60)
    ]
    found = with_machine([*wrong, *spots])
    assert found is not None
    assert found.items == 60
    assert found.people.value == 1.0
    # The machine always says first, people half the time: no better than chance.
    assert found.judge.value == pytest.approx(0.0)
    assert not found.usable
    assert with_machine(wrong) is None
    people = among_people([*wrong, *spots])
    assert people is not None
    assert people.items == 80
    rows = label_rows([*wrong, *spots])
    assert len(rows) == 60
    assert rows[1] == {"id": "i101", "machine": "first", "ann": "second", "bob": "second"}


def test_progress_counts() -> None:
    cases = [case(1, {"ann": "first", "bob": "second"}), case(2, {}), *gold(1, 0)]
    found = progress(cases)
    assert (found["items"], found["decided"], found["decisions"]) == (3, 2, 3)
    assert (found["gold"], found["disputed"]) == (1, 1)
    assert math.isnan(reviewers(cases, ["bob"], 0.7)[0].right.value)
