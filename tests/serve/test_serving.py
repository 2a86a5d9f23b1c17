"""Feedback, arms, new champions, and what happens when there is too much to do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests import tiny

from burnish.cli.main import invoke
from burnish.config import InputError
from burnish.models.load import load_model, save_model
from burnish.sampling import BatchLimits, Sampling, generate
from burnish.serve.arms import Arms, Place, Served, shares
from burnish.serve.settings import ServeSettings
from burnish.store.registry import Registry
from burnish.text.templates import encode_prompt

from .conftest import TOKEN, Running, metrics, running, saved, served, start

LONG = {"max_tokens": 400, "temperature": 0}
"""A request that takes a while."""


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def greedy(folder: Path, text: str, tokens: int) -> str:
    loaded = load_model(folder)
    ids = encode_prompt(loaded.tokenizer, [{"role": "user", "content": text}])
    sampling = Sampling(temperature=0, max_new_tokens=tokens)
    return generate(loaded.model, loaded.tokenizer, [ids], sampling, seeds=[0])[0].text


def test_users_keep_their_arm(folder: Path, tmp_path: Path) -> None:
    arms = [served("one", folder, 0.8), served("two", saved(tmp_path / "two", 1), 0.2)]
    with running(arms, tmp_path) as there:

        def arm(**more: Any) -> str:
            answer = there.chat("x", max_tokens=1, **more)
            return str(answer.headers["x-burnish-arm"])

        users = [f"user {n}" for n in range(20)]
        first = [arm(user=user) for user in users]
        assert [arm(user=user) for user in users] == first
        assert set(first) == {"one", "two"}
        assert [arm(user=user, model="two") for user in users[:3]] == ["two"] * 3
        assert there.chat("x", model="three").status_code == 404
        key = there.chat("x", user="ann", model="two").json()["id"]
        there.post("/v1/feedback", id=key, thumbs="up")
    with Registry(tmp_path / "registry.sqlite") as registry:
        assert registry.feedback()[0].content["arm"] == "two"


def test_shares_of_users() -> None:
    names = ["a", "b", "c"]
    parts = [
        Served(name, share, lambda: Place("", ""))
        for name, share in zip(names, (6, 3, 1), strict=True)
    ]
    arms = Arms(parts, ServeSettings())
    users = [f"u{n}" for n in range(5000)]
    chosen = {user: arms.choose("burnish", user) for user in users}
    counts = Counter(arm.name for arm in chosen.values() if arm)
    for name, share in zip(names, (0.6, 0.3, 0.1), strict=True):
        assert abs(counts[name] / 5000 - share) < 4 * (share * (1 - share) / 5000) ** 0.5
    # A change of shares moves no more users than it has to.
    moved = Arms([parts[0], Served("b", 2, parts[1].locate), Served("c", 2, parts[2].locate)],
                 ServeSettings())  # fmt: skip
    others = {user: moved.choose("burnish", user) for user in users}
    changed = sum(others[user].name != chosen[user].name for user in users)  # type: ignore[union-attr]
    assert abs(changed / 5000 - 0.1) < 0.02
    alone = Counter(arms.choose("burnish", None).name for _ in range(500))  # type: ignore[union-attr]
    assert set(alone) == set(names)


@pytest.mark.parametrize("split", ["0.5", "1,2,3", "a,b", "1,0", "1,-1", "nan,1", "inf,1", ""])
def test_shares_that_are_none(split: str) -> None:
    with pytest.raises(InputError, match="2 numbers above 0"):
        shares(["a", "b"], split)
    assert shares(["a", "b"], None) == [1, 1]
    assert shares(["a", "b"], "0.9,0.1") == [0.9, 0.1]
    with pytest.raises(InputError, match="the same model twice"):
        shares(["a", "a"], None)


def test_a_new_champion_takes_over_and_nothing_is_dropped(tmp_path: Path) -> None:
    folders = [saved(tmp_path / name, seed) for seed, name in enumerate(("old", "new"))]
    now = [Place(str(folders[0]), "ppo@1")]
    with running([Served("run", 1, lambda: now[0])], tmp_path) as there:
        with there.http.stream(
            "POST",
            "/v1/chat/completions",
            json={"model": "run", "messages": [{"role": "user", "content": "Hello"}],
                  "stream": True, **LONG},
        ) as answer:  # fmt: skip
            lines = answer.iter_lines()
            begun = [next(lines) for _ in range(6)]
            now[0] = Place(str(folders[1]), "ppo@2")
            until(lambda: there.service.arms.all[0].swaps == 1)
            new = there.chat("Hello", temperature=0, max_tokens=12)
            assert new.headers["x-burnish-model"] == "ppo@2"
            events = [json.loads(line[6:]) for line in [*begun, *lines]
                      if line.startswith("data: {")]  # fmt: skip
        old = "".join(e["choices"][0]["delta"].get("content") or "" for e in events)
        assert old == greedy(folders[0], "Hello", 400)
        assert events[-1]["choices"][0]["finish_reason"] is not None
        assert new.json()["choices"][0]["message"]["content"] == greedy(folders[1], "Hello", 12)
        assert new.json()["system_fingerprint"] != events[0]["system_fingerprint"]
        until(lambda: not there.service.arms.all[0]._old)
        # One that cannot be loaded changes nothing.
        now[0] = Place(str(tmp_path / "none"), "ppo@3")
        until(lambda: there.service.arms.all[0].failures == 1)
        assert there.chat("Hello").headers["x-burnish-model"] == "ppo@2"
        assert 'burnish_failed_swaps{arm="run"} 1.0' in metrics(there)


def test_requests_while_weights_change(tmp_path: Path) -> None:
    folders = [saved(tmp_path / str(seed), seed) for seed in range(2)]
    now = [0]

    def locate() -> Place:
        return Place(str(folders[now[0] % 2]), f"m@{now[0] + 1}")

    expected = {greedy(folder, "Hello", 12) for folder in folders}
    with running([Served("run", 1, locate)], tmp_path, watch_seconds=0.01) as there:

        def ask(number: int) -> str:
            now[0] = number // 10
            answer = there.chat("Hello", temperature=0, max_tokens=12)
            assert answer.status_code == 200
            return str(answer.json()["choices"][0]["message"]["content"])

        with ThreadPoolExecutor(4) as pool:
            replies = set(pool.map(ask, range(60)))
        assert replies <= expected
        assert there.service.arms.all[0].swaps >= 1


def test_a_full_queue_says_so(folder: Path, tmp_path: Path) -> None:
    batch = BatchLimits(rows=1, waiting=2)
    with running([served("one", folder)], tmp_path, batch=batch) as there:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: there.chat(f"{n}", **LONG), range(8)))
        counts = Counter(answer.status_code for answer in answers)
        assert set(counts) == {200, 429}
        assert counts[200] >= 2
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert there.chat("x").status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_is_not_served(up: Running, stream: bool) -> None:
    batcher = up.service.arms.all[0].engine.batcher
    body = {"model": "one", "messages": [{"role": "user", "content": "x"}], "n": 8,
            "stream": stream, "max_tokens": 100_000, "temperature": 0}  # fmt: skip
    gone = re.compile(
        r'burnish_requests_total\{arm="one",kind="chat.completion",status="499"\} (.+)'
    )
    before = gone.findall(metrics(up))

    async def leave() -> None:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            asking = asyncio.create_task(client.post(f"{up.url}/v1/chat/completions", json=body))
            while not batcher.running:
                await asyncio.sleep(0.001)
            asking.cancel()

    asyncio.run(leave())
    until(lambda: batcher.running == 0 and batcher.waiting == 0)
    until(lambda: gone.findall(metrics(up)) != before)
    assert not up.service.arms.all[0].engine._watchers


def test_requests_have_a_time(folder: Path, tmp_path: Path) -> None:
    with running([served("one", folder)], tmp_path, seconds=0.05) as there:
        model = there.service.arms.all[0].engine.batcher.model
        model.register_forward_pre_hook(lambda *_: time.sleep(0.1))
        answer = there.chat("x", n=8, **LONG)
        assert answer.status_code == 504
        events = there.chat("x", n=8, stream=True, **LONG).text.split("\n\n")
        assert json.loads(events[-2][6:])["error"]["type"] == "server_error"
        until(lambda: there.service.arms.all[0].engine.batcher.running == 0)


def test_a_model_that_fails_says_so_and_goes_on(folder: Path, tmp_path: Path) -> None:
    with running([served("one", folder)], tmp_path) as there:
        model = there.service.arms.all[0].engine.batcher.model
        broken = model.register_forward_pre_hook(lambda *_: 1 / 0)
        answer = there.chat("x")
        assert answer.status_code == 500
        assert "division" not in answer.text
        events = there.chat("x", stream=True).text.split("\n\n")
        assert "the model failed" in json.loads(events[-2][6:])["error"]["message"]
        broken.remove()
        assert there.chat("x").status_code == 200


def test_metrics_and_health(up: Running) -> None:
    up.chat("Hello", max_tokens=5)
    text = metrics(up)
    assert re.search(r'burnish_tokens_total\{arm="one",what="drawn"\} [1-9]', text)
    assert 'burnish_requests_total{arm="one",kind="chat.completion",status="200"}' in text
    assert 'burnish_running{arm="one"} 0.0' in text
    assert 'burnish_first_token_seconds_bucket{arm="one",le="60.0"}' in text
    assert up.http.get("/health").json() == {"status": "ok"}


def test_what_was_read_before_is_counted_and_goes_with_its_weights(tmp_path: Path) -> None:
    folders = [saved(tmp_path / name, seed) for seed, name in enumerate(("old", "new"))]
    now = [Place(str(folders[0]), "ppo@1")]
    known = re.compile(r'burnish_tokens_total\{arm="run",what="cached"\} ([0-9.]+)')
    asked = {"temperature": 0, "max_tokens": 12}
    first, more = "a question of some length, " * 2, "and what comes after it"

    def next_turn(reply: str) -> Any:
        turns = [
            {"role": "user", "content": first},
            {"role": "assistant", "content": reply},
            {"role": "user", "content": more},
        ]
        return there.post("/v1/chat/completions", model="run", messages=turns, **asked).json()

    with running([Served("run", 1, lambda: now[0])], tmp_path) as there:
        answer = there.chat(first, model="run", n=2, **asked).json()
        assert "prompt_tokens_details" not in answer["usage"]
        turn = next_turn("no")
        before = answer["usage"]["prompt_tokens"]
        cached = turn["usage"]["prompt_tokens_details"]["cached_tokens"]
        assert before - 16 <= cached < before < turn["usage"]["prompt_tokens"]
        assert float(known.findall(metrics(there))[0]) == cached
        texts = [[7] * 40, [8] * 40]
        several = there.post("/v1/completions", model="run", prompt=texts, n=2, **asked).json()
        assert "prompt_tokens_details" not in several["usage"]
        several = there.post("/v1/completions", model="run", prompt=texts, n=2, **asked).json()
        assert several["usage"]["prompt_tokens_details"] == {"cached_tokens": 2 * 32}
        now[0] = Place(str(folders[1]), "ppo@2")
        until(lambda: there.service.arms.all[0].swaps == 1)
        other = next_turn("no")
        assert "prompt_tokens_details" not in other["usage"]
        assert other["choices"][0]["message"]["content"] != turn["choices"][0]["message"]["content"]
    with running([served("run", folders[0])], tmp_path, batch=BatchLimits(prefix_mib=0)) as there:
        there.chat(first, model="run", **asked)
        plain = next_turn("no")
        assert "prompt_tokens_details" not in plain["usage"]
        assert plain["choices"] == turn["choices"]


def test_a_draft_changes_no_greedy_reply(up: Running, folder: Path, tmp_path: Path) -> None:
    """Nor what is streamed, and it is counted how much of it stayed."""
    save_model(tiny.model(5), tiny.tokenizer(), tmp_path / "draft")
    helped = replace(served("one", folder), draft=str(tmp_path / "draft"))
    asked = {"temperature": 0, "max_tokens": 20, "logprobs": True, "top_logprobs": 2}

    def said(there: Running, text: str) -> Any:
        return there.chat(text, **asked).json()["choices"][0]

    with running([helped], tmp_path, ahead=3) as there:
        for text in ("Hello", "the an hell"):
            found, plain = said(there, text), said(up, text)
            assert found["message"] == plain["message"]
            assert found["finish_reason"] == plain["finish_reason"]
            tokens = [one["logprobs"]["content"] for one in (found, plain)]
            assert [t["token"] for t in tokens[0]] == [t["token"] for t in tokens[1]]
            values = [[t["logprob"] for t in one] for one in tokens]
            assert values[0] == pytest.approx(values[1], abs=1e-3)
            assert [len(t["top_logprobs"]) for t in tokens[0]] == [2] * len(tokens[0])
        streamed = there.chat("Hello", stream=True, **asked).text
        pieces = [json.loads(line[6:]) for line in streamed.split("\n\n") if line[6:7] == "{"]
        text = "".join(
            p["choices"][0]["delta"].get("content") or "" for p in pieces if p["choices"]
        )
        assert text == said(up, "Hello")["message"]["content"]
        assert re.search(
            r'burnish_draft_tokens_total\{arm="one",end="refused"\} [1-9]', metrics(there)
        )


def test_a_draft_of_another_vocabulary_is_refused(folder: Path, tmp_path: Path) -> None:
    save_model(tiny.model(vocab_size=300), tiny.tokenizer(extra=["<|x|>"]), tmp_path / "draft")
    arm = Arms([replace(served("one", folder), draft=str(tmp_path / "draft"))], ServeSettings())
    with pytest.raises(InputError, match="draft: another vocabulary"):
        asyncio.run(arm.start())


def test_sigterm_lets_requests_end(folder: Path, tmp_path: Path) -> None:
    process, told = start(folder, tmp_path)
    headers = {"authorization": f"Bearer {told['token']}"}
    body = {"model": "burnish", "messages": [{"role": "user", "content": "Hello"}],
            "stream": True, **LONG}  # fmt: skip
    with httpx2.Client(base_url=told["url"], headers=headers, timeout=60) as client:
        assert client.get("/models").json()["data"][1]["id"] == str(folder)
        with client.stream("POST", "/chat/completions", json=body) as answer:
            lines = answer.iter_lines()
            begun = [next(lines) for _ in range(4)]
            os.kill(process.pid, signal.SIGTERM)
            events = [line for line in [*begun, *lines] if line]
        assert events[-1] == "data: [DONE]"
        said = [json.loads(line[6:])["choices"][0]["delta"] for line in events[:-1]]
        whole = "".join(delta.get("content") or "" for delta in said)
        assert whole == greedy(folder, "Hello", 400)
        assert process.wait(60) == 0
        with pytest.raises(httpx2.ConnectError):
            client.get("/models")


def test_the_command_line_refuses(folder: Path, tmp_path: Path, capsys: Any) -> None:
    runs = ["--runs", str(tmp_path), "--port", "0"]
    for words, said in (
        ([str(folder), "--host", "0.0.0.0"], "--public"),
        ([str(folder), "--host", "0.0.0.0", "--public", "--no-token"], "--no-token"),
        ([str(folder), "--split", "1,2"], "--split"),
        ([str(tmp_path / "none")], "no such model folder"),
        (["http://127.0.0.1:1/v1"], "#name-of-the-model"),
        (["http://127.0.0.1:1/v1#m", "--draft", str(folder)], "served elsewhere"),
        (["http://127.0.0.1:1/v1#m", "http://127.0.0.1:2/v1#m"], "the same model twice"),
        ([str(folder), "--set", "batch.rows=0"], "batch.rows"),
        ([str(folder), "--token-file", str(tmp_path / "none")], "--token-file"),
    ):
        assert invoke(["serve", *words, *runs]) == 2, words
        assert said in capsys.readouterr().err, words


def test_the_champion_of_a_run(tmp_path: Path) -> None:
    from burnish.cli.models_of import located

    runs = tmp_path / "runs"
    places = [saved(runs / "r" / "artifacts" / f"ppo@{n}", n) for n in (1, 2)]
    other = saved(runs / "s" / "artifacts" / "sft@1")
    with Registry(runs / "registry.sqlite") as registry:
        for name, place in zip(("ppo", "ppo", "sft"), (*places, other), strict=True):
            registry.register(name, "model", place, str(place))
        registry.set_alias("champion", "ppo@1", "")
    assert located("r", runs) == (str(places[0]), "ppo@1")
    with Registry(runs / "registry.sqlite") as registry:
        registry.set_alias("champion", "sft@1")  # another run's does not count
    assert located("r", runs) == (str(places[0]), "ppo@1")
    assert located("champion", runs) == (str(other), "sft@1")
    with Registry(runs / "registry.sqlite") as registry:
        registry.set_alias("champion", "ppo@2")
    assert located("r", runs) == located("champion", runs) == (str(places[1]), "ppo@2")
    assert located("burnish-tiny", runs) == ("burnish-tiny", "burnish-tiny")


def test_a_thread_stays_with_its_server(folder: Path, tmp_path: Path) -> None:
    before = {thread.name for thread in threading.enumerate()}
    with running([served("one", folder)], tmp_path) as there:
        there.chat("x")
        assert any(thread.name == "decode one" for thread in threading.enumerate())
    assert {t.name for t in threading.enumerate() if "decode" in t.name} <= before
