"""Stages that ask a served model: one that is the tiny model, behind a real server."""

from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.loop.mini import write_recipe
from tests.serving import Handler, fails, grades, last, replies, said, serving

from burnish.loop.check import check
from burnish.loop.recipe import from_value, load
from burnish.loop.run import run
from burnish.sampling import EndpointError, LocalSampler, Request, Sampling
from burnish.sampling.address import KEYS
from burnish.store.artifacts import ArtifactStore

Mini = tuple[Path, dict[str, Any]]
KEY = "canary-7f3a91"
FOUR = {"max_new_tokens": 4}
LISTING = {"data": [{"id": "m", "root": "org/m", "created": 1}]}


@pytest.fixture
def server() -> Iterator[Any]:
    """Serves the mini recipe's model as ``m``."""
    sampler = LocalSampler(tiny.model(), tiny.tokenizer())

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        sampling = Sampling(
            temperature=body["temperature"], top_p=body["top_p"], max_new_tokens=body["max_tokens"]
        )
        with handler.server.lock:
            [reply] = sampler.complete([Request(body["messages"], body["seed"], "")], sampling)
        handler.give(said(reply.text, reply.finish))

    with serving(answer, listing=replies(json.dumps(LISTING).encode())) as served:
        yield served


def asking(value: dict[str, Any], ref: str) -> dict[str, Any]:
    """A recipe of stages that ask ``ref``, all with the data of the mini recipe."""
    stages = copy.deepcopy(value["round"])
    evaluate, generate, constitution = (
        stages[name] | {"model": ref} for name in ("after", "generate", "constitution")
    )
    del evaluate["heldout"], evaluate["base"], constitution["reward"]
    generate["scoring"] = {"weights": {"completeness": 1.0, "verifier": 1.0}}
    prepare = {"evaluate": evaluate, "generate": generate, "constitution": constitution}
    endpoint = {"pause": 0.01, "attempts": 2, "concurrency": 1}
    return {"name": "asking", "model": "model", "endpoint": endpoint, "prepare": prepare}


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_stages_get_from_a_served_model_what_they_get_from_its_folder(
    mini: Mini, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, value = mini
    monkeypatch.setenv(KEYS, f"{server.netloc}={KEY}")
    results = {}
    for ref in ("@base", server.ref):
        recipe = load(write_recipe(folder, asking(value, ref)))
        results[ref] = run(recipe, tmp_path / str(len(results)))
    here, there = results.values()
    for stage, file, column in (
        ("evaluate", "responses.jsonl", "reply"),
        ("constitution", "examples.jsonl", "messages"),
    ):
        found = [
            [row[column] for row in lines(r.artifact(stage).path / file)] for r in (here, there)
        ]
        assert found[0] == found[1]
    assert here.artifact("evaluate").figures == there.artifact("evaluate").figures
    rollouts = [lines(r.artifact("generate").path / "rollouts.jsonl") for r in (here, there)]
    assert len(rollouts[0]) == len(rollouts[1]) == 8
    assert all(row["tokens"] == row["logprobs"] == [] for row in rollouts[1])
    assert len({row["id"] for row in rollouts[1]}) == 8
    for stage in ("evaluate", "generate", "constitution"):
        assert "served" not in here.artifact(stage).details
        assert there.artifact(stage).details["served"] == {
            "url": server.url, "model": "m", "listed": {"id": "m", "root": "org/m"},
        }  # fmt: skip
    assert there.artifact("evaluate").details["model"] == "m"
    assert not list((there.folder / "scratch").glob("*"))
    # S-15: the server was given the key, and nothing else was.
    assert {key for _, key, _ in server.seen} == {f"Bearer {KEY}"}
    written = [path for path in (tmp_path / "1").rglob("*") if path.is_file()]
    assert len(written) > 10
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    # What is finished is taken as it is: nobody is asked again.
    asked = len(server.bodies)
    again = run(recipe, tmp_path / "1")
    assert {stage["state"] for stage in again.summary["stages"]} == {"reused"}
    assert len(server.bodies) == asked


def test_replies_that_came_outlive_kill_9(mini: Mini, tmp_path: Path) -> None:
    #
    folder, value = mini
    started: list[subprocess.Popen[bytes]] = []

    def kills_at_the_sixth(handler: Handler, body: dict[str, Any]) -> None:
        if len(handler.server.bodies) == 6:
            started[0].kill()
        handler.give(said(f"reply to {last(body)}"))

    with serving(kills_at_the_sixth) as server:
        path = write_recipe(folder, asking(value, server.ref))
        command = [sys.executable, "-m", "burnish.cli.main", "run", str(path)]
        started.append(subprocess.Popen([*command, "--runs", str(tmp_path)]))
        assert started[0].wait(timeout=120) == -signal.SIGKILL
        before = [last(body) for body in server.bodies]
        [journal] = (tmp_path / "asking" / "scratch").glob("evaluate-*/replies.jsonl")
        assert len(lines(journal)) == 5
        with journal.open("ab") as file:  # and the sixth was torn
            file.write(b'{"key": "00')
        result = run(load(path), tmp_path)
    questions = [last(body) for body in server.bodies]
    rest = questions[len(before) : 40 + 1]
    assert len(before) == 6
    assert sorted(before[:5] + rest) == sorted(set(before[:5] + rest))  # no question twice
    responses = lines(result.artifact("evaluate").path / "responses.jsonl")
    assert len(responses) == 40
    for row in responses:
        assert row["reply"] == f"reply to {row['messages'][-1]['content']}"


def test_a_server_that_fails_stops_a_round_and_not_the_loop(mini: Mini, tmp_path: Path) -> None:
    # A failed round would be written off; the server may be there again in a minute.
    folder, value = mini
    down = True

    def answer(handler: Handler, body: dict[str, Any]) -> None:
        if down and "Mali" in last(body):
            handler.give(b"no memory left", 500)
        else:
            handler.give(said("Lima"))

    with serving(answer) as server:
        changed = copy.deepcopy(value)
        changed["name"] = "round"
        stages = asking(value, server.ref)
        changed["prepare"] = {"sft": value["prepare"]["sft"] | {"model": "@base"}}
        changed["round"] = {"evaluate": stages["prepare"]["evaluate"]}
        changed |= {"endpoint": stages["endpoint"], "figures": {}}
        recipe = load(write_recipe(folder, changed))
        named = r"8 of 40 replies are missing(.|\n)*q-Mali-\d: status 500: 'no memory left'"
        with pytest.raises(EndpointError, match=named):
            run(recipe, tmp_path)
        down = False
        asked = len(server.bodies)
        result = run(recipe, tmp_path)
    assert len(server.bodies) - asked == 8
    assert [verdict["decision"] for verdict in result.summary["verdicts"]] == ["undecided"]
    assert ArtifactStore(tmp_path / "round").get("evaluate").figures["capitals"].n == 40


def problems(mini: Mini, changes: dict[str, Any], **top: Any) -> list[str]:
    """What the check says of the asking recipe with some settings of its stages changed."""
    folder, value = mini
    recipe = asking(value, "http://127.0.0.1:9/v1#m") | top
    for stage, settings in changes.items():
        recipe["prepare"].setdefault(stage, {}).update(settings)
    found = check(from_value(recipe, folder / "recipe.yaml", {}))
    return [f"{problem.field}: {problem.found}; {problem.expected}" for problem in found]


def test_what_a_served_model_cannot_give_is_refused_before_anything_runs(mini: Mini) -> None:
    assert problems(mini, {}) == []  # and nobody is asked: port 9 has no server
    assert problems(mini, {}, model="http://127.0.0.1:9/v1#m") == []
    served = "http://127.0.0.1:9/v1#m"
    weights = "found a served model; expected a model folder or name: a served model gives replies"
    given = "leave it out: a served model gives no log-probabilities of given tokens"
    look = asking(mini[1], "@champion")["prepare"]["evaluate"]
    sft = {"run": "fit.sft", "model": served, "data": ["sft.jsonl"]}
    for changes, top, expected in (
        ({"sft": sft}, {}, [f"prepare.sft.model: {weights}"]),
        ({"sft": sft | {"model": "@base"}}, {"model": served}, [f"prepare.sft.model: {weights}"]),
        ({"evaluate": {"heldout": "general.jsonl"}}, {}, ["prepare.evaluate.heldout: it is for"]),
        ({"evaluate": {"base": served}}, {}, [f"prepare.evaluate.base: {weights}"]),
        ({"generate": {"reward": served}}, {}, [f"prepare.generate.reward: {weights}"]),
        (
            {"generate": {"scoring": {}}},
            {},
            ["prepare.generate.scoring.weights.relevance: it is a likelihood under the model",
             "prepare.generate.scoring.weights.fluency: it is a likelihood under the model"],
        ),
        (
            {},
            {"model": served, "round": {"look": look}},
            ["rounds.champion: found a served model; expected a stage of prepare"],
        ),
    ):  # fmt: skip
        found = problems(mini, changes, **top)
        assert len(found) == len(expected), found
        for one, wanted in zip(found, expected, strict=True):
            assert one.startswith(wanted)
            assert not one.startswith("prepare.generate.scoring") or one.endswith(given)


def test_a_served_judge_goes_with_likelihoods_of_a_model_here(mini: Mini) -> None:
    served = "http://127.0.0.1:9/v1#m"
    generate = {
        "model": "@base",
        "scoring": {"weights": {"relevance": 0.5, "judge": 0.5}},
        "judge": {"model": served},
    }
    score = {"run": "curate.score", "data": ["sft.jsonl"], "model": "@base",
             "scorers": {"relevance": 1.0, "judge": 1.0}, "judge": {"model": served}}  # fmt: skip
    assert problems(mini, {"generate": generate, "score": score}) == []
    labels = {"data": "gone.jsonl", "annotators": ["ann"]}
    for judge, wanted in (
        ({"model": "http://127.0.0.1:9/v1"}, "judge.model: "),
        ({"model": served, "labels": labels}, "judge.labels.data: no such file"),
        ({"model": served, "rubric": "gone.txt"}, "judge.rubric: no such file"),
    ):
        found = problems(mini, {"generate": generate | {"judge": judge}})
        assert len(found) == 1
        assert found[0].startswith(f"prepare.generate.{wanted}")


def test_scored_by_a_judge_and_selected_in_one_run(mini: Mini, tmp_path: Path) -> None:
    folder, _ = mini
    with serving(grades) as server:
        stages = {
            "score": {"run": "curate.score", "data": ["sft.jsonl"], "model": "@base",
                      "scorers": {"relevance": 0.5, "judge": 1.0}, "judge": {"model": server.ref}},
            "select": {"run": "curate.select", "data": ["@score/scored.jsonl"], "score": "total",
                       "select": {"near": None, "semantic": None}},
        }  # fmt: skip
        recipe = {"name": "scored", "model": "model", "prepare": stages}
        made = run(load(write_recipe(folder, recipe)), tmp_path)
        asked = len(server.bodies)
        assert asked > 0
        changed = recipe | {"prepare": stages | {"score": stages["score"] | {"threshold": 0.5}}}
        run(load(write_recipe(folder, changed)), tmp_path, rerun=["score"])
        assert len(server.bodies) == asked  # another threshold asks nobody
    found = lines(made.artifact("score").path / "scored.jsonl")
    assert all(row["total"] == (0.5 * row["scores"]["relevance"] + row["scores"]["judge"]) / 1.5
               for row in found)  # fmt: skip
    details = made.artifact("score").details
    assert set(details["scores"]) == {"relevance", "judge", "total"}
    assert made.artifact("select").figures["kept"].value == len(found)


def test_bad_addresses_and_keys_are_found_by_the_check(
    mini: Mini, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S-16, S-15
    for ref, reason in (
        (f"http://me:{KEY}@host/v1#m", "must not hold a user or password"),
        ("http://169.254.169.254/v1#m", "leads to 169.254.169.254"),
        ("http://127.0.0.1:9/v1", "must end with /v1#name-of-the-model"),
    ):
        found = problems(mini, {"evaluate": {"model": ref}})
        assert len(found) == 1
        assert found[0].startswith("prepare.evaluate.model: ")
        assert reason in found[0]
        assert KEY not in found[0]
        assert reason in problems(mini, {}, model=ref)[0]
    monkeypatch.setenv(KEYS, KEY)
    found = problems(mini, {})
    assert len(found) == 3
    assert all("must hold host=key items" in one and KEY not in one for one in found)


def test_nobody_there_is_said_at_once(mini: Mini, tmp_path: Path) -> None:
    folder, value = mini
    with serving(fails(404)) as server:
        recipe = load(write_recipe(folder, asking(value, server.ref)))
    with pytest.raises(EndpointError, match="connection failed"):
        run(recipe, tmp_path)
    assert json.loads((tmp_path / "asking" / "summary.json").read_text())["status"] == "failed"
