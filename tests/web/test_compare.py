from __future__ import annotations

import csv
import gzip
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from burnish.evals import experiments
from burnish.records import Preference
from burnish.store import tables
from burnish.store.registry import Registry
from burnish.web import contenders, duels, uploads
from burnish.web.contenders import Contender
from burnish.web.duels import Duel, Duels
from burnish.web.site import Site
from burnish.web.votes import Choice, Vote, Votes

from .conftest import OWN
from .world import make_experiment, make_models, make_run


def vote(number: int = 0, choice: Choice = "left", **more: Any) -> Vote:
    given = {
        "duel": f"d{number}", "prompt": "Hi", "models": ("a@1", "b@1"), "replies": ("one", "two"),
        "choice": choice, "voter": "ann",
    }  # fmt: skip
    return Vote(**(given | more))


@pytest.fixture
def models(site: Site) -> list[str]:
    make_run(site.runs, "demo")
    return make_models(site.runs, real=True)


@pytest.fixture
def asking(person: TestClient, site: Site) -> Iterator[TestClient]:
    with person:
        yield person
        assert person.portal is not None
        person.portal.call(site.close)


def begin(client: TestClient, first: str = "tuned@1", second: str = "tuned@2") -> str:
    asked = {"first": first, "second": second, "prompt": "Hello there"}
    return str(client.post("/compare/duels", json=asked, headers=OWN).json()["duel"])


def reply(client: TestClient, duel: str, side: str) -> tuple[str, str, Any]:
    """Text, everything that was told, and the headers."""
    path = f"/compare/duels/{duel}/{side}"
    answer = client.post(path, json={"max_tokens": 6, "temperature": 0.0}, headers=OWN)
    assert answer.status_code == 200, answer.text
    events = [line[6:] for line in answer.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    return "".join(json.loads(one)["text"] for one in events[:-1]), answer.text, answer.headers


def test_models_are_those_of_registry_runs_and_folders(site: Site, models: list[str]) -> None:
    made = site.runs / "demo/artifacts/tuned@1"
    (site.runs / "exports/small").mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (site.runs / "exports/small" / name).write_bytes((made / name).read_bytes())
    with Registry(site.registry) as registry:
        registry.set_alias("champion", "tuned@2")
    names = [one.name for one in contenders.contenders(site.runs, site.registry)]
    assert names == ["tuned@2", "tuned@1", "exports/small"]
    site.registry.unlink()
    names = [one.name for one in contenders.contenders(site.runs, site.registry)]
    assert names == ["demo/tuned@1", "demo/tuned@2", "exports/small"]


def test_a_duel_is_blind_until_the_vote(asking: TestClient, site: Site, models: list[str]) -> None:
    duel = begin(asking)
    said = {}
    for side in ("left", "right"):
        early = {"duel": duel, "choice": "left", "voter": "ann"}
        assert asking.post("/compare/votes", json=early, headers=OWN).status_code == 409
        said[side], told, headers = reply(asking, duel, side)
        # Nothing tells which model it is: no name, no fingerprint, no header.
        assert "tuned" not in told + str(headers)
        assert "fingerprint" not in told
    assert said["left"] != said["right"]
    given = {"duel": duel, "choice": "right", "voter": " ann "}
    told = asking.post("/compare/votes", json=given, headers=OWN).json()
    assert {told["left"], told["right"]} == set(models)
    assert told["right"] in told["ratings"]
    assert asking.post("/compare/votes", json=given, headers=OWN).json()["stored"] is False
    (found,) = tables.read(site.runs / "compare/preferences.jsonl", Preference)
    assert found.prompt == [{"role": "user", "content": "Hello there"}]
    assert found.chosen[0]["content"] == said["right"]
    assert found.rejected[0]["content"] == said["left"]
    row = json.loads((site.runs / "compare/preferences.jsonl").read_text())
    assert (row["voter"], row["chosen_model"]) == ("ann", told["right"])


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/compare/duels", {"first": "tuned@1", "second": "tuned@1", "prompt": "a"}, 400),
        ("/compare/duels", {"first": "tuned@1", "second": "../tuned", "prompt": "a"}, 400),
        ("/compare/duels", {"first": "tuned@1", "second": "tuned@2", "prompt": ""}, 400),
        ("/compare/duels/none/left", {}, 404),
        ("/compare/duels/none/above", {}, 400),
        ("/compare/votes", {"duel": "none", "choice": "left", "voter": "ann"}, 404),
        ("/compare/votes", {"duel": "none", "choice": "left", "voter": "  "}, 400),
        ("/compare/votes", {"duel": "none", "choice": "best", "voter": "ann"}, 400),
    ],
)
def test_what_is_refused(
    asking: TestClient, models: list[str], path: str, body: dict[str, str], status: int
) -> None:
    assert asking.post(path, json=body, headers=OWN).status_code == status


def test_the_order_is_by_chance_and_old_duels_are_forgotten() -> None:
    first, second = (Contender(name, Path(name)) for name in "ab")
    open_ = Duels()
    keys = [open_.begin("Hi", first, second) for _ in range(duels.MOST_OPEN + 1)]
    assert open_.find(keys[0]) is None
    found = [duel for key in keys if (duel := open_.find(key)) is not None]
    lefts = sum(isinstance(duel, Duel) and duel.model("left") is first for duel in found)
    assert 64 < lefts < 192  # a fair coin fails this once in 10^15


def test_few_models_are_kept_loaded(
    asking: TestClient, site: Site, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contenders, "MOST_LOADED", 1)
    duel = begin(asking)
    before = reply(asking, duel, "left")[0]
    reply(asking, duel, "right")
    assert len(site.contenders._loaded) == 1
    assert reply(asking, duel, "left")[0] == before  # loaded again


def test_votes_make_preferences_and_ratings(site: Site) -> None:
    votes = Votes(site.runs)
    for number, choice in enumerate(("left", "right", "tie", "left")):
        assert votes.add(vote(number, choice))  # type: ignore[arg-type]
    assert not votes.add(vote(0, "right", voter="eve"))  # who saw the names already
    assert votes.add(vote(8, "right", voter="bob"))
    assert votes.add(vote(9, "left", replies=("same", "same")))
    assert [one.voter for one in votes.all()] == ["ann"] * 4 + ["bob", "ann"]
    found = tables.read(votes.preferences, Preference)
    said = [(one.chosen[0]["content"], one.rejected[0]["content"]) for one in found]
    assert said == [("one", "two"), ("two", "one"), ("one", "two"), ("two", "one")]
    assert len({one.id for one in found}) == 4
    # A vote that was written when the power went is made good by the next one.
    votes.preferences.unlink()
    votes.add(vote(10))
    assert len(tables.read(votes.preferences, Preference)) == 5


def test_the_rating_table(person: TestClient, site: Site) -> None:
    votes = Votes(site.runs)
    assert "No votes yet" in person.get("/compare").text
    votes.add(vote(0))
    page = person.get("/compare").text
    assert "do not connect all models" in page  # one game has no finite rating
    for number in range(1, 6):
        votes.add(vote(number, "right" if number == 5 else "left", prompt=f"q{number}"))
    page = person.get("/compare").text
    assert "do not connect" not in page
    votes.add(vote(6, models=("c@1", "a@1"), prompt="q6"))  # won, and was never beaten
    page = person.get("/compare").text
    assert page.index("b@1") < page.index("No rating yet") < page.index("c@1")
    rows = list(csv.DictReader(io.StringIO(person.get("/compare/ratings.csv").text[1:])))
    unrated = rows.pop()
    assert (unrated["model"], unrated["rating"], unrated["league"]) == ("c@1", "", "2")
    assert [row["model"] for row in rows] == ["a@1", "b@1"]
    assert [(row["votes"], row["won"], row["tied"]) for row in rows] == [
        ("7", "5", "0"), ("6", "1", "0"),
    ]  # fmt: skip
    # Odds of five to one are 400 log10(5) = 279.6 points, around a mean of 1000.
    assert float(rows[0]["rating"]) == pytest.approx(1000 + 139.79, abs=0.1)
    assert float(rows[0]["low"]) < 1139.79 < float(rows[0]["high"])


def test_an_experiment_and_its_end(person: TestClient, site: Site, models: list[str]) -> None:
    make_experiment(site.runs)
    assert '<a href="/compare/experiments/tone">tone</a>' in person.get("/compare").text
    page = person.get("/compare/experiments/tone").text
    for part in ("the challenger is better", "gains at least", 'class="band"', "decided; end it"):
        assert part in page, part
    assert (
        "挑战者更好"
        in person.get("/compare/experiments/tone", headers={"accept-language": "zh"}).text
    )
    with Registry(site.registry) as registry:  # looking has changed nothing
        before = len(registry.verdicts())
        assert experiments.load(registry, "tone").verdict is None
    answer = person.get("/compare/experiments/tone/standings.csv")
    (row,) = csv.DictReader(io.StringIO(answer.text[1:]))
    assert (row["metric"], row["decision"]) == ("value", "promoted")
    assert float(row["low"]) > 0
    assert person.post("/compare/experiments/tone/end", headers=OWN).status_code == 303
    with Registry(site.registry) as registry:
        assert len(registry.verdicts()) == before + 1
        assert registry.verdicts()[-1].decision == "promoted"
    page = person.get("/compare/experiments/tone").text
    assert "ended" in page
    assert "/end" not in page
    for name in ("none", "..%2fregistry", "%2e%2e"):
        assert person.get(f"/compare/experiments/{name}").status_code == 404, name


def send(person: TestClient, body: bytes, name: str) -> Any:
    path = f"/compare/experiments/tone/outcomes?name={name}"
    return person.post(path, content=body, headers=OWN)


def test_outcomes_from_a_file(person: TestClient, site: Site, models: list[str]) -> None:
    make_experiment(site.runs)
    rows = [{"request": f"n{n}", "arm": "tuned@1", "user": f"v{n}", "value": 1} for n in range(3)]
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert send(person, body, "a.jsonl").json() == {"new": 3, "known": 0}
    assert send(person, gzip.compress(body), "a.jsonl.gz").json() == {"new": 0, "known": 3}
    refused = send(person, b'{"request": 1, "arm": "other"}\n', "mine.jsonl")
    assert refused.status_code == 400
    assert "mine.jsonl:1:arm: found" in refused.text.replace("&#39;", "'")


def test_uploads_have_limits(
    person: TestClient, site: Site, models: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # S-23
    make_experiment(site.runs)
    bomb = gzip.compress(b" " * (40 * 2**20))
    assert len(bomb) < 42_000
    began = time.monotonic()
    for body, name, status in (
        (bomb, "a.jsonl.gz", 413),
        (b"x" * (2**20 + 1), "a.jsonl", 413),
        (b"\n" * (uploads.MOST_ROWS + 1), "a.jsonl", 413),
        (b"[" * 100_000 + b"]" * 100_000, "a.jsonl", 400),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "a.jsonl", 400),
        (b"x", "a.exe", 400),
        (b"x", "a.parquet", 400),
        (b"request,arm,value", "a.csv", 400),
        (b"no gzip", "a.jsonl.gz", 400),
        (gzip.compress(b"{}\n")[:-4], "a.jsonl.gz", 400),
        (gzip.compress(b"{}\n") + b"more", "a.jsonl.gz", 400),
    ):
        assert send(person, body, name).status_code == status, (body[:20], name)
    assert time.monotonic() - began < 10
    with Registry(site.registry) as registry:
        assert len(registry.feedback()) == 120  # nothing of it was taken
