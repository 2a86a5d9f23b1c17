from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.records import Preference, Prompt
from burnish.review.desk import Desk, place
from burnish.review.items import Item, identity, items_of
from burnish.review.open import fill
from burnish.review.queue import ReviewSettings, arrange

from .desks import REFUSED, make_run, pair, rollout, turn


def prompt(name: str, kind: str, **more: object) -> Prompt:
    return Prompt(id=name, messages=[turn(f"Ask {name}")], verify={"kind": kind, **more})


def by_parent(items: list[Item]) -> dict[str, Item]:
    return {item.parents[0]: item for item in items}


def test_reasons_by_the_stated_rule(tmp_path: Path) -> None:
    prompts = [prompt("bad", "refuse"), prompt("good", "comply")]
    pairs = [
        pair(1, "Take a crowbar.", REFUSED, parents=("bad",)),
        pair(2, REFUSED, "Take a crowbar.", parents=("bad",)),
        pair(3, REFUSED, "Boil it.", parents=("good",)),
        pair(4, "Boil it.", REFUSED),
        pair(5, "a", "b", probability=0.6),
        pair(6, "a", "c"),
        pair(7, "a", "d"),
        *(pair(10 + n, "a", f"e{n}", margin=float(n)) for n in (1, 2, 3, 4)),
    ]
    labels = [
        {"preference": "p6", "left_first": 0.8, "right_first": 0.3},
        {"preference": "p7", "left_first": 0.8, "right_first": 0.7},
        {"preference": None, "left_first": None, "right_first": 0.7},
    ]
    found = by_parent(items_of(make_run(tmp_path / "run", pairs, (), prompts, labels)))
    reasons = {name: (item.reasons, round(item.priority, 6)) for name, item in found.items()}
    assert reasons["p1"] == (("complied",), 3.0)  # the preferred reply complies
    assert reasons["p2"] == (("complied",), 0.5)  # and looks the same to a reviewer
    assert reasons["p3"] == (("refused",), 2.0)
    assert reasons["p4"] == (("refusal",), 1.5)
    assert reasons["p5"] == (("unsure",), 0.8)
    assert reasons["p6"] == (("orders",), 1.0)
    assert reasons["p7"] == ((), 0.0)
    # The smallest quarter of the margins 1, 2, 3, 4.
    assert reasons["p11"] == (("margin",), 0.75)
    assert reasons["p12"] == reasons["p14"] == ((), 0.0)


def test_candidates_without_a_pair(tmp_path: Path) -> None:
    rollouts = [
        rollout("a", "one", 0.5), rollout("a", "two", 0.5), rollout("a", "far", 0.1),
        rollout("b", "one", 0.82), rollout("b", "two", 0.2),
        rollout("c", "same", 0.5), rollout("c", "same ", 0.1),
        rollout("d", "paired", 0.5), rollout("d", "other", 0.5),
    ]  # fmt: skip
    run = make_run(tmp_path / "run", [pair(1, "paired", "other", parents=("d",))], rollouts)
    found = {item.parents[-3]: item for item in items_of(run) if len(item.parents) > 2}
    assert {name: item.reasons for name, item in found.items()} == {
        "a": ("equal",), "b": ("threshold",),
    }  # fmt: skip
    assert {found["a"].first, found["a"].second} == {"one", "two"}
    assert found["a"].machine is None  # nothing preferred either


def test_the_order_of_replies_says_nothing(tmp_path: Path) -> None:
    same = [pair(1, "yes", "no"), pair(2, "no", "yes", asked="Question 1?")]
    (item,) = items_of(make_run(tmp_path / "run", same))
    assert item.id == identity([turn("Question 1?")], ["no", "yes"])
    many = items_of(make_run(tmp_path / "many", [pair(n, "yes", "no") for n in range(200)]))
    firsts = Counter(item.machine for item in many)
    assert 70 <= firsts["first"] <= 130  # 3.9 standard deviations around the half


def test_what_people_decided_is_not_asked_again(tmp_path: Path) -> None:
    decided = pair(1, "yes", "no", annotators=("ann",))
    found = items_of(make_run(tmp_path / "run", [decided, pair(2, "yes", "no")]))
    assert [item.parents[0] for item in found] == ["p2"]


def test_the_most_dangerous_first_with_gold_and_spot_checks_among_them() -> None:
    def item(n: int, **more: object) -> Item:
        return Item(id=f"{n:016x}", artifact="a@1", round=1, prompt=[], first="a", second="b",
                    machine="first", **more)  # type: ignore[arg-type]  # fmt: skip

    doubtful = [item(n, reasons=("margin",), priority=n / 100) for n in range(100)]
    sure = [item(1000 + n, answer="second") for n in range(100)]
    settings = ReviewSettings(most=50, gold=0.1, spot=0.2, overlap=0.5)
    placed = arrange([*doubtful, *sure], [], settings)
    kinds = Counter(one.item.kind for one in placed)
    assert kinds == {"critical": 36, "spot": 9, "gold": 5}
    critical = [one.item.priority for one in placed if one.item.kind == "critical"]
    assert critical == sorted(critical, reverse=True)
    assert {one.people for one in placed if one.item.kind == "gold"} == {None}
    assert {one.people for one in placed if one.item.kind == "spot"} == {2}
    shared = sum(one.people == 2 for one in placed if one.item.kind == "critical")
    assert 9 <= shared <= 27  # of 36, three standard deviations around the half
    # Spread: every fifth of the queue has a gold item, and none shows what the machine thinks.
    gold = [at for at, one in enumerate(placed) if one.item.kind == "gold"]
    assert max(b - a for a, b in zip([-10, *gold], [*gold, 60], strict=True)) <= 20
    assert {one.item.machine for one in placed if one.item.kind == "gold"} == {None}
    assert placed == arrange([*sure, *doubtful], [], settings)  # whatever the order


def test_a_desk_is_filled_once_for_each_round(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [pair(n, "yes", "no", margin=n + 1.0) for n in range(40)])
    settings = ReviewSettings(most=10, gold=0.2, spot=0.2)
    known = [Preference(id="k", prompt=[turn("2 + 2?")], chosen=[turn("4", "assistant")],
                        rejected=[turn("5", "assistant")])]  # fmt: skip
    assert fill(run, settings, known) == 10
    assert fill(run, settings, known) == 0
    make_run(run, [pair(n, "yes", "new", margin=n + 1.0) for n in range(40)], round=2)
    assert fill(run, settings, known) == 9  # the gold item lies there already
    with Desk(place(run)) as desk:
        rounds = [case.item.round for case in desk.cases()]
        gold = [case.item for case in desk.cases() if case.item.kind == "gold"]
    assert rounds == sorted(rounds, reverse=True)
    assert [getattr(one, one.answer or "") for one in gold] == ["4"]


def test_a_run_without_pairs_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", (), [rollout("a", "one", 0.5)])
    with pytest.raises(InputError, match=r"run: made no replies to review yet"):
        fill(run, ReviewSettings())
