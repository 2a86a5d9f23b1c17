"""The review pages from outside: who gets in, who may say what, what is told and what is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.review.desks import GOLD, make_run, pair, rollout

from burnish.records import Feedback, Preference
from burnish.review.desk import Desk, place
from burnish.review.open import fill
from burnish.review.queue import ReviewSettings
from burnish.store.rows import record
from burnish.web.app import RULES
from burnish.web.passes import holder, make_pass
from burnish.web.site import Site

from .conftest import OWN, TOKEN, client_of


@pytest.fixture
def run(site: Site) -> Path:
    """A run with 20 pairs on its desk, which ann and bob review; a fifth of them is for both."""
    folder = make_run(
        site.runs / "demo", [pair(n, "yes", "no", probability=0.6) for n in range(20)]
    )
    fill(folder, ReviewSettings(gold=0.05, spot=0.2, overlap=0, most=20), GOLD)
    with Desk(place(folder)) as desk:
        desk.add_reviewer("ann")
        desk.add_reviewer("bob")
    return folder


@pytest.fixture
def ann(site: Site, run: Path) -> Iterator[TestClient]:
    yield from logged_in(site, "ann")


@pytest.fixture
def bob(site: Site, run: Path) -> Iterator[TestClient]:
    yield from logged_in(site, "bob")


def logged_in(site: Site, name: str) -> Iterator[TestClient]:
    with client_of(site) as client:
        answer = client.post("/login", data={"token": make_pass(TOKEN, name)}, headers=OWN)
        assert (answer.status_code, answer.headers["location"]) == (303, "/review")
        assert "httponly" in answer.headers["set-cookie"].lower()
        yield client


def items(client: TestClient, *held: str) -> list[dict[str, Any]]:
    answer = client.post("/review/demo/items", json={"held": held}, headers=OWN)
    assert answer.status_code == 200
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def send(client: TestClient, item: str, key: str = "a-key-of-mine", **more: Any) -> Any:
    body = {"item": item, "choice": "left", "key": key, "seconds": 1.5} | more
    return client.post("/review/demo/decisions", json=body, headers=OWN)


def test_a_pass_opens_the_review_pages_alone(site: Site, ann: TestClient) -> None:  # S-09
    for (method, path), access in RULES.items():
        address = path.replace("{run}", "demo").replace("{", "").replace("}", "")
        status = ann.request(method, address, headers=OWN).status_code
        assert access == "open" or (status == 401) == (access == "token"), (method, path, status)
    page = ann.get("/review/demo")
    assert (page.status_code, "ann" in page.text) == (200, True)
    assert 'href="/runs"' not in page.text
    assert ann.get("/").headers["location"] == "/review"
    assert "demo" in ann.get("/review").text


def test_passes_cannot_be_forged(site: Site, run: Path, nobody: TestClient) -> None:  # S-24
    good = make_pass(TOKEN, "ann")
    assert holder(TOKEN, good) == "ann"
    assert holder(TOKEN, make_pass(TOKEN, "吴 <b>")) == "吴 <b>"
    mark, name, signature = good.split(".")
    other = make_pass(TOKEN, "bob").split(".")[1]
    forged = [
        "", "ann", f"{mark}.{name}", f"{mark}.{name}.", f"{mark}.{other}.{signature}",
        f"x.{name}.{signature}", make_pass("another-token", "ann"), f"{mark}.%.{signature}",
        f"{mark}.{name}.é", f"{mark}.////.{signature}",
    ]  # fmt: skip
    for value in forged:
        assert holder(TOKEN, value) is None, value
        cookie = {"cookie": f"burnish_reviewer_8600={value}".encode()}
        answer = nobody.get("/review/demo", headers=cookie)  # type: ignore[arg-type]
        assert answer.status_code == 401, value


def test_reviewers_work_on_their_own_items_once(
    run: Path, ann: TestClient, bob: TestClient
) -> None:  # S-24
    mine = items(ann)
    theirs = {one["id"] for one in items(bob)}
    with Desk(place(run)) as desk:
        people = {case.item.id: case.people for case in desk.cases()}
    own = next(one["id"] for one in mine if people[one["id"]] == 1)
    assert own not in theirs
    assert send(bob, own).status_code == 403
    assert send(ann, own, annotator="bob").status_code == 400  # nobody else can be named
    assert send(ann, own).json()["new"] is True
    assert send(ann, own).json()["new"] is False
    assert send(ann, own, key="another-key").status_code == 409
    assert send(ann, own, choice="right").status_code == 409
    assert send(ann, "nothing").status_code == 404
    undone = {"key": "a-key-of-mine"}
    assert bob.post("/review/demo/undo", json=undone, headers=OWN).status_code == 404
    assert ann.post("/review/demo/undo", json=undone, headers=OWN).json()["item"]["id"] == own
    assert send(ann, own, key="another-key").json()["new"] is True
    with Desk(place(run)) as desk:
        desk.lock([own], "trained on")
        refused = [row for row in desk.audit() if "refused" in row["detail"]]
    undone = {"key": "another-key"}
    assert ann.post("/review/demo/undo", json=undone, headers=OWN).status_code == 409
    assert [row["who"] for row in refused] == ["bob", "ann", "ann", "ann", "bob"]


def test_who_is_no_reviewer_of_this_run_sees_nothing(site: Site, run: Path) -> None:  # S-24
    for client in logged_in(site, "eve"):
        assert client.get("/review/demo").status_code == 403
        asked = client.post("/review/demo/items", json={"held": []}, headers=OWN)
        assert asked.status_code == 403
        assert "demo" not in client.get("/review").text
        assert client.get("/review/other").status_code == 404


def test_the_page_does_not_learn_what_is_hidden(run: Path, ann: TestClient) -> None:
    seen: list[dict[str, Any]] = []
    while fresh := items(ann, *(one["id"] for one in seen[-20:])):
        for one in fresh:
            send(ann, one["id"], key=f"key-{one['id']}")
        seen += fresh
    assert {*seen[0]} == {"id", "prompt", "left", "right", "reasons", "lang"}
    # Checks with a known answer look as spot checks do, and sides as chance has it.
    gold = [one for one in seen if one["prompt"][0]["content"] == "2 + 2?"]
    assert [one["reasons"] for one in gold] == [["Drawn for a check"]]
    assert sum(one["reasons"] == ["Drawn for a check"] for one in seen) == 5
    with Desk(place(run)) as desk:
        cases = {case.item.id: case for case in desk.cases()}
    sides = {one["left"] == cases[one["id"]].item.first for one in seen}
    assert sides == {True, False}
    for one in seen:  # what was chosen is the reply that stood on the left
        case = cases[one["id"]]
        assert getattr(case.item, case.votes[0].choice) == one["left"]


@pytest.mark.parametrize(
    "more",
    [
        {"edited": ""}, {"edited": "x" * 20_001}, {"choice": "first"}, {"key": "k"},
        {"seconds": -1}, {"seconds": 1e9}, {"item": "x" * 65},
    ],
)  # fmt: skip
def test_odd_decisions_are_refused(run: Path, ann: TestClient, more: dict[str, Any]) -> None:
    mine = items(ann)[0]["id"]
    assert send(ann, **{"item": mine, **more}).status_code == 400
    assert send(ann, mine).status_code == 200


def test_large_and_deep_bodies_are_refused_at_once(ann: TestClient) -> None:  # S-23
    headers = OWN | {"content-type": "application/json"}
    deep = "[" * 100_000
    answer = ann.post("/review/demo/decisions", content=deep, headers=headers)
    assert answer.status_code == 400
    large = json.dumps({"edited": "x" * 3_000_000})
    assert ann.post("/review/demo/decisions", content=large, headers=headers).status_code == 413


def test_the_owner_sets_up_settles_and_exports(
    site: Site, run: Path, person: TestClient, ann: TestClient, bob: TestClient
) -> None:
    assert person.get("/review/demo").headers["location"] == "/review/demo/desk"
    made = person.post("/review/demo/desk/reviewers", data={"name": "cho"}, headers=OWN).text
    (link,) = re.findall(r"/login#(review\.[^\"]+)", made)[:1]
    assert holder(TOKEN, link) == "cho"
    for client, choice in ((ann, "first"), (bob, "second")):
        for one in items(client):
            with Desk(place(run)) as desk:
                (item,) = [c.item for c in desk.cases() if c.item.id == one["id"]]
            left = one["left"] == item.first
            side = "left" if left == (choice == "first") else "right"
            assert send(client, item.id, key=f"key-{item.id}", choice=side).status_code == 200
    with Desk(place(run)) as desk:
        disputed = [case.item for case in desk.cases() if case.disputed]
    assert disputed
    page = person.get("/review/demo/desk").text
    assert "ann: the first" in page
    assert link not in page
    settled = {"item": disputed[0].id, "choice": "first", "edited": " ", "reason": ""}
    assert person.post("/review/demo/desk/settle", data=settled, headers=OWN).status_code == 400
    settled |= {"reason": "read it again"}
    assert person.post("/review/demo/desk/settle", data=settled, headers=OWN).status_code == 303
    assert person.post("/review/demo/desk/lock", headers=OWN).status_code == 303
    assert person.post("/review/demo/desk/settle", data=settled, headers=OWN).status_code == 409
    rows = person.get("/review/demo/desk/preferences").text.splitlines()
    found = [record(Preference, json.loads(row), "x") for row in rows]
    by_owner = [one for one in found if "owner" in one.annotators]
    assert [(one.chosen[0]["content"], one.annotators) for one in by_owner] == [
        (disputed[0].first, ("owner", "ann"))
    ]
    assert person.post("/review/demo/desk/items", headers=OWN).status_code == 303


def test_single_replies_are_called_good_or_bad(site: Site, person: TestClient) -> None:
    made = [rollout(f"p{n}", f"reply {n}", 0.8) for n in range(6)]
    folder = make_run(site.runs / "demo", [pair(1, "yes", "no", probability=0.6)], made)
    fill(folder, ReviewSettings(gold=0, spot=0.5, overlap=0, most=12, singles=0.5))
    with Desk(place(folder)) as desk:
        desk.add_reviewer("ann")
        desk.add_reviewer("bob")
    for name, side in (("ann", "left"), ("bob", "right")):
        for client in logged_in(site, name):
            for one in items(client):
                assert {*one} == {"id", "prompt", "left", "right", "reasons", "lang"}
                if one["right"] is None:
                    assert one["reasons"] in ([], ["Drawn for a check"], ["A score is near the "
                                              "bound that keeps or drops a reply"])  # fmt: skip
                    key = f"key-{one['id']}"
                    assert send(client, one["id"], key=key, choice="tie").status_code == 400
                    assert send(client, one["id"], key=key, choice=side).status_code == 200
    with Desk(place(folder)) as desk:
        cases = [case for case in desk.cases() if case.item.single]
    said = {(vote.reviewer, vote.choice) for case in cases for vote in case.votes}
    assert said == {("ann", "first"), ("bob", "second")}  # left is good, whoever looks
    page = person.get("/review/demo/desk").text
    assert "ann: Good" in page
    assert "bob: Not good" in page
    disputed = next(case.item.id for case in cases if case.disputed)
    settled = {"item": disputed, "choice": "tie", "edited": "", "reason": "read again"}
    assert person.post("/review/demo/desk/settle", data=settled, headers=OWN).status_code == 400
    settled |= {"choice": "second", "edited": "A better one."}
    assert person.post("/review/demo/desk/settle", data=settled, headers=OWN).status_code == 303
    rows = person.get("/review/demo/desk/feedback").text.splitlines()
    found = {
        one.annotators: one for one in (record(Feedback, json.loads(row), "x") for row in rows)
    }
    assert found["owner", "bob"].label is False
    rows = person.get("/review/demo/desk/preferences").text.splitlines()
    (better,) = (record(Preference, json.loads(row), "x") for row in rows)
    assert better.chosen[0]["content"] == "A better one."
    assert better.rejected == found["owner", "bob"].completion


def test_nothing_is_made_by_looking(site: Site, person: TestClient) -> None:
    folder = make_run(site.runs / "demo", [pair(1, "yes", "no", probability=0.6)])
    for path in ("/review", "/review/demo/desk", "/review/demo/desk/preferences"):
        person.get(path)
    for action in ("lock", "release", "settle", "reviewers"):
        data = {"name": "x", "choice": "tie", "reason": "y"}
        answer = person.post(f"/review/demo/desk/{action}", data=data, headers=OWN)
        assert answer.status_code == 404, action
    assert not place(folder).exists()
    wrong = {"most": "many"}
    assert person.post("/review/demo/desk/items", data=wrong, headers=OWN).status_code == 400
    asked = {"most": "10", "overlap": "0.5", "gold": "", "spot": "0"}
    assert person.post("/review/demo/desk/items", data=asked, headers=OWN).status_code == 303
    with Desk(place(folder)) as desk:
        assert desk.settings == ReviewSettings(most=10, overlap=0.5, spot=0)
        assert len(desk.cases()) == 1
