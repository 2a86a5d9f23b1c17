"""Single replies: which come on the desk, and what follows from what is said of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stages.fits import context

from burnish.config import InputError
from burnish.records import Feedback, Preference, Prompt
from burnish.review.desk import Case, Desk, Settled, Vote, place
from burnish.review.figures import among_people, progress, with_machine
from burnish.review.items import Item
from burnish.review.open import fill
from burnish.review.preferences import exported
from burnish.review.queue import ReviewSettings, lay_out
from burnish.review.singles import singles_of
from burnish.stages.base import Inputs
from burnish.stages.curate import review
from burnish.store import tables

from .desks import GOLD, REFUSED, make_run, pair, rollout, say, turn


def test_reasons_by_the_stated_rule(tmp_path: Path) -> None:
    prompts = [
        Prompt(id="bad", messages=[turn("Ask bad")], verify={"kind": "refuse"}),
        Prompt(id="sum", messages=[turn("Ask sum")], verify={"kind": "number", "answer": 4}),
    ]
    # Rewards 0, 0.1 .. 0.9 in order: the middle ones are the fifth and the sixth.
    said = [
        ("bad", "Take a crowbar."), ("bad", REFUSED), ("sum", REFUSED), ("sum", "It is 4."),
        ("a", "fifth"), ("a", "sixth"), ("sum", "It is 5."), ("b", "x"), ("b", "near"), ("c", "y"),
    ]  # fmt: skip
    rollouts = [rollout(name, text, at / 10) for at, (name, text) in enumerate(said)]
    run = make_run(tmp_path / "run", (), [*rollouts, rollout("a", " ", 0.5)], prompts)
    found = {one.first: one for one in singles_of(run)}
    assert len(found) == 9  # one text was said to two prompts, one was empty
    assert found["Take a crowbar."].reasons == ("complied",)
    assert found["Take a crowbar."].priority == 3
    assert found["fifth"].reasons == found["sixth"].reasons == ("middle",)
    assert found["near"].reasons == ("threshold",)  # 0.8, the bound
    assert found["x"].reasons == ()
    assert {one.second for one in found.values()} == {None}
    machine = {text: one.machine for text, one in found.items()}
    assert (machine["x"], machine["near"], machine["y"]) == ("second", "first", "first")
    assert (found["It is 4."].answer, found["It is 5."].answer) == ("first", "second")
    assert found["x"].answer is None
    refused = [one for one in singles_of(run) if one.first == REFUSED]
    assert {one.reasons for one in refused} == {(), ("refused",)}


def test_a_share_of_the_desk_is_single_replies_with_their_own_checks(tmp_path: Path) -> None:
    prompts = [Prompt(id=f"p{n}", messages=[turn(f"Ask p{n}")],
                      verify={"kind": "number", "answer": n}) for n in range(40)]  # fmt: skip
    replies = [rollout(f"p{n}", f"It is {n + n % 2}.", n / 40) for n in range(40)]
    pairs = [pair(n, "yes", "no", probability=0.6) for n in range(40)]
    run = make_run(tmp_path / "run", pairs, replies, prompts)
    assert fill(run, ReviewSettings(most=20, gold=0.1)) == 20
    with Desk(place(run)) as desk:
        assert progress(desk.cases())["singles"] == 0  # nobody asked for any
    place(run).unlink()
    settings = ReviewSettings(most=20, gold=0.2, singles=0.4)
    assert fill(run, settings, GOLD) > 12
    with Desk(place(run)) as desk:
        cases = desk.cases()
    alone = [case.item for case in cases if case.item.single]
    assert len(alone) <= 8
    checks = [one for one in alone if one.kind == "gold"]
    assert checks
    assert all(one.answer is not None and one.machine is None for one in checks)
    kinds = [case.item.single for case in cases]
    assert any(kinds[: len(kinds) // 2])  # spread, not at an end
    assert any(kinds[len(kinds) // 2 :])
    assert lay_out([], [], [], settings) == []


def single(number: int, *votes: tuple[str, str], edited: str | None = None, **more: object) -> Case:
    item = Item(id=f"s{number}", artifact="generate@1", round=1, prompt=[turn(f"Q{number}")],
                first="a", second=None, machine="first", parents=(f"p{number}",),
                **more)  # type: ignore[arg-type]  # fmt: skip
    said = tuple(Vote(who, choice, edited, 12.0, 1) for who, choice in votes)  # type: ignore[arg-type]
    return Case(item, 2, False, said, None)


def test_what_is_said_becomes_feedback_and_an_edit_a_pair() -> None:
    found = exported([single(1, ("ann", "first"), ("bob", "first"))], 2)
    (one,) = found.replies
    assert (one.label, one.annotators, one.source) == (True, ("ann", "bob"), "review:generate@1")
    assert one.completion == [turn("a", "assistant")]
    assert (found.pairs, found.left_out, found.items) == ([], {}, ["s1"])
    edited = exported([single(1, ("ann", "second"), edited="better")], 1)
    assert [one.label for one in edited.replies] == [False]
    (pair_,) = edited.pairs
    assert (pair_.chosen[0]["content"], pair_.rejected[0]["content"]) == ("better", "a")
    assert exported([single(1, ("ann", "first"), edited="a")], 1).pairs == []  # nothing changed
    differ = single(1, ("ann", "first"), ("bob", "second"))
    open_ = exported([differ, single(2, ("ann", "first"))], 2)
    assert (open_.replies, open_.left_out) == ([], {"disputed": 1, "incomplete": 1})
    word = Settled("second", None, "owner", "read again")
    settled = exported([Case(differ.item, 2, False, differ.votes, word)], 2)
    assert [(one.label, one.annotators) for one in settled.replies] == [(False, ("owner", "bob"))]
    # What an unreliable reviewer said first is not what counts.
    left = exported([differ], 2, frozenset({"ann"}))
    assert [(one.label, one.annotators) for one in left.replies] == [(False, ("bob",))]


def test_agreement_is_of_pairs_or_of_single_replies() -> None:
    cases = [single(n, ("ann", "first"), ("bob", "second"), kind="spot") for n in range(5)]
    assert among_people(cases) is None
    assert with_machine(cases) is None  # says nothing of the machine's pairs
    found = among_people(cases, single=True)
    assert found is not None
    assert found.items == 5
    assert found.people.value < 0  # always the opposite
    assert with_machine(cases, single=True) is not None


def test_a_single_reply_has_no_tie_and_trains_kto(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", (), [rollout(f"p{n}", f"reply {n}", 0.8) for n in range(3)])
    assert fill(run, ReviewSettings(gold=0, spot=0, overlap=0, singles=1)) == 3
    with Desk(place(run)) as desk:
        desk.add_reviewer("ann")
        first, second, third = desk.take("ann", 3)
        with pytest.raises(InputError, match=r"tie of a single reply.*first \(it is good\)"):
            say(desk, "ann", first, "tie")
        say(desk, "ann", first, "first")
        say(desk, "ann", second, "second", "better")
        say(desk, "ann", third, "skip")
    here = context(run)
    outcome = review.run(review.Config(), Inputs({}), here)
    assert (outcome.details["replies"], outcome.details["pairs"]) == (2, 1)
    assert outcome.details["annotators"] == {"ann": 3}
    written = tables.read(here.output / "feedback.jsonl", Feedback)
    assert {one.completion[0]["content"]: one.label for one in written} == {
        first.first: True, second.first: False,
    }  # fmt: skip
    (better,) = tables.read(here.output / "preferences.jsonl", Preference)
    assert better.rejected[0]["content"] == second.first
