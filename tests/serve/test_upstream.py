"""Models on other servers: what they say passes through, what they hide stays hidden."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from tests.serving import Answer, Handler, dropped, fails, replies, said, serving

from burnish.config import InputError
from burnish.sampling import BatchLimits
from burnish.sampling.address import KEYS
from burnish.serve import upstream
from burnish.serve.arms import Place, Served
from burnish.serve.engine import DecodingError
from burnish.serve.protocol import ChatRequest, Turn
from burnish.serve.upstream import Upstream
from burnish.serve.wire import Chat
from burnish.store.registry import Registry

from .conftest import TOKEN, Running, metrics, running, saved, served, start

CANARY = "canary-7f3a91"


def elsewhere(address: str, share: float = 1.0) -> Served:
    name = address.partition("#")[2]
    return Served(name, share, lambda: Place(address, name))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "PAUSE", 0.01)


@pytest.fixture(scope="module")
def front(up: Running, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server in front of another burnish, beside a model of its own."""
    place = tmp_path_factory.mktemp("front")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEYS, f"127.0.0.1:{up.port}={TOKEN} other.example=wrong")
        models = [elsewhere(f"{up.url}/v1#one", 0.5), served("here", saved(place / "here", 3), 0.5)]
        with running(
            models, place, route=lambda text: "one" if "prove" in text else "here"
        ) as there:
            yield there


@pytest.fixture(scope="module")
def client(front: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key=TOKEN, max_retries=0) as made:
        yield made


def events_of(text: str) -> list[Any]:
    return [json.loads(part[6:]) for part in text.split("\n\n") if part.startswith("data: {")]


ASKED = {"temperature": 0.7, "seed": 5, "n": 2, "max_tokens": 12, "logprobs": True}


def test_whole_answers_are_those_of_the_other_server(up: Running, front: Running) -> None:
    direct = up.chat("Hello", model="one", **ASKED).json()
    answer = front.chat("Hello", model="one", **ASKED)
    relayed = answer.json()
    assert relayed["choices"] == direct["choices"]
    assert relayed["usage"] == direct["usage"]
    assert relayed["id"] != direct["id"]
    assert answer.headers["x-burnish-arm"] == answer.headers["x-burnish-model"] == "one"
    texts = {"model": "one", "prompt": ["the hall", [5, 6]], "temperature": 0, "logprobs": 2}
    found, known = (there.post("/v1/completions", **texts).json() for there in (front, up))
    assert found["choices"] == known["choices"]
    assert found["usage"] == known["usage"]


def test_streams_pass_through(client: openai.OpenAI, up: Running) -> None:
    whole = up.chat("Hello", model="one", **ASKED).json()
    texts, finishes, usage, keys = ["", ""], {}, None, set()
    for event in client.chat.completions.create(  # type: ignore[call-overload]
        model="one", messages=[{"role": "user", "content": "Hello"}], stream=True,
        stream_options={"include_usage": True}, **ASKED,
    ):  # fmt: skip
        keys.add(event.id)
        assert event.model == "one"
        usage = event.usage or usage
        for choice in event.choices:
            texts[choice.index] += choice.delta.content or ""
            finishes[choice.index] = choice.finish_reason or finishes.get(choice.index)
    assert texts == [choice["message"]["content"] for choice in whole["choices"]]
    assert finishes == {n: choice["finish_reason"] for n, choice in enumerate(whole["choices"])}
    assert usage is not None
    assert usage.model_dump(exclude_none=True) == whole["usage"]
    assert len(keys) == 1
    # Whoever did not ask for the counts gets none.
    plain = client.chat.completions.create(
        model="one", messages=[{"role": "user", "content": "x"}], stream=True, max_tokens=3
    )
    assert all(event.usage is None and event.choices for event in plain)


def test_routes_feedback_and_metrics(front: Running) -> None:
    routed = front.chat("prove it", user="ann")
    assert routed.headers["x-burnish-arm"] == "one"
    assert front.chat("hello").headers["x-burnish-arm"] == "here"
    streamed = events_of(front.chat("prove it", stream=True, seed=2).text)
    key = streamed[0]["id"]
    assert front.post("/v1/feedback", id=key, thumbs="up").json()["stored"]
    with Registry(front.service.book.path) as registry:
        (row,) = registry.feedback()
    assert (row.ref, row.content["arm"]) == ("one", "one")
    reply = row.content["record"]["completion"][0]["content"]
    assert reply == "".join(e["choices"][0]["delta"].get("content") or "" for e in streamed)
    text = metrics(front)
    assert 'burnish_running{arm="one"} 0.0' in text
    assert 'burnish_tokens_total{arm="one",what="read"}' in text
    assert 'burnish_first_token_seconds_count{arm="one"}' in text
    assert 'burnish_draft_tokens_total{arm="one",end="accepted"} 0.0' in text
    assert front.http.get("/v1/models").json()["data"][1]["root"] == "one"


def test_users_are_divided(front: Running, up: Running, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEYS, f"127.0.0.1:{up.port}={TOKEN}")
        arms = [elsewhere(f"{up.url}/v1#one"), front.service.arms.all[1].served]
        with running(arms, tmp_path) as there:
            names = [there.chat("x", max_tokens=1, user=f"user {n}") for n in range(12)]
            assert {answer.headers["x-burnish-arm"] for answer in names} == {"one", "here"}


def test_a_client_that_goes_away_is_not_served_there_either(front: Running, up: Running) -> None:
    batcher: Any = up.service.arms.all[0].engine.batcher  # type: ignore[union-attr]
    body = {"model": "one", "messages": [{"role": "user", "content": "x"}], "n": 4,
            "max_tokens": 100_000, "temperature": 0}  # fmt: skip

    async def leave(stream: bool) -> None:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            url = f"{front.url}/v1/chat/completions"
            asking = asyncio.create_task(client.post(url, json={**body, "stream": stream}))
            while not batcher.running:
                await asyncio.sleep(0.001)
            asking.cancel()

    for stream in (True, False):
        asyncio.run(leave(stream))
        end = time.monotonic() + 20
        while batcher.running or front.service.arms.all[0].engine.load().running:
            assert time.monotonic() < end
            time.sleep(0.01)


def breaks_off(handler: Handler, body: dict[str, Any]) -> None:
    """A stream that ends in the middle."""
    piece = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(f": a comment\n\ndata: {json.dumps(piece)}\n\n".encode())
    handler.wfile.flush()
    handler.close_connection = True


def late(handler: Handler, body: dict[str, Any]) -> None:
    time.sleep(0.6)
    handler.give(said("late"))


def test_what_may_pass_is_tried_again(tmp_path: Path) -> None:
    answers = fails(503), dropped, replies(said("at last"))
    with serving(*answers) as other, running([elsewhere(other.ref)], tmp_path) as there:
        assert there.chat("x").json()["choices"][0]["message"]["content"] == "at last"
    assert len(other.bodies) == 3


def test_after_the_first_byte_nothing_is_tried_again(tmp_path: Path) -> None:
    with serving(breaks_off) as other, running([elsewhere(other.ref)], tmp_path) as there:
        events = events_of(there.chat("x", stream=True).text)
        assert events[0]["choices"][0]["delta"]["content"] == "Hi"
        assert "too early" in events[-1]["error"]["message"]
        assert len(other.bodies) == 1
        text = metrics(there)
    assert 'burnish_requests_total{arm="m",kind="chat.completion",status="502"} 1.0' in text


def leaky(status: int) -> Answer:
    """An error that tells too much."""
    error = {"message": f"key {CANARY} of 10.0.0.7", "code": "context_length_exceeded",
             "param": f"{CANARY}", "type": CANARY}  # fmt: skip
    return lambda handler, body: handler.give(
        json.dumps({"error": error}).encode(), status, x_secret=CANARY
    )


def cut_error(handler: Handler, body: dict[str, Any]) -> None:
    """An error whose text ends in the middle."""
    handler.send_response(400)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(CANARY.encode())
    handler.close_connection = True


@pytest.mark.parametrize(
    ("answer", "status", "word"),
    [
        (leaky(400), 400, "context_length_exceeded"),
        (leaky(422), 400, "context_length_exceeded"),
        (leaky(401), 502, "does not let"),
        (leaky(404), 502, "cannot answer"),
        (leaky(429), 429, "too much to do"),
        (leaky(500), 502, "cannot answer"),
        (leaky(503), 503, "cannot answer"),
        (leaky(504), 504, "in time"),
        (leaky(302), 502, "cannot answer"),
        (leaky(200), 502, "failed while"),
        (dropped, 502, "cannot be reached"),
        (cut_error, 502, "cannot be reached"),
        (replies(b"[1]"), 502, "cannot be read"),
        (replies(b'{"choices": [{"index": 7, "message": {}}]}'), 502, "cannot be read"),
        (replies(b'{"choices": []}'), 502, "too early"),
    ],
)
def test_errors_are_told_without_what_they_say(
    answer: Answer, status: int, word: str, tmp_path: Path, caplog: Any
) -> None:
    with serving(answer) as other, running([elsewhere(other.ref)], tmp_path) as there:
        told = there.chat("x")
        assert told.status_code == status
        assert word in told.json()["error"]["message"]
        streamed = there.chat("x", stream=True, messages=[{"role": "user", "content": "y"}])
        for seen in (told, streamed):
            assert CANARY not in seen.text + str(seen.headers)
            assert "10.0.0.7" not in seen.text
        engine: Any = there.service.arms.all[0].engine
        assert engine.load().running == 0
    assert CANARY not in caplog.text


def test_only_what_is_needed_is_passed_on(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, serving(replies(said("ok"))) as other:
        patch.setenv(KEYS, f"{other.netloc}={CANARY} elsewhere.example=another")
        with running([elsewhere(other.ref)], tmp_path) as there:
            answer = there.chat("x", user="ann", stop="!", presence_penalty=0, max_tokens=4)
            assert answer.status_code == 200
            assert [seen[1] for seen in other.seen] == [f"Bearer {CANARY}"]
    (body,) = other.bodies
    assert body == {
        "model": "m", "messages": [{"role": "user", "content": "x"}], "stop": "!",
        "max_tokens": 4, "temperature": 1.0, "top_p": 1.0,
    }  # fmt: skip


def test_keys_stay_with_their_host(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch, serving(replies(said("ok"))) as other:
        patch.setenv(KEYS, f"elsewhere.example={CANARY}")
        with running([elsewhere(other.ref)], tmp_path) as there:
            assert there.chat("x").status_code == 200
    assert [seen[1] for seen in other.seen] == [None]


def test_time_and_room_are_bounded(tmp_path: Path) -> None:
    bounds: Any = {"seconds": 0.2, "batch": BatchLimits(rows=1, waiting=1)}
    with serving(late) as other, running([elsewhere(other.ref)], tmp_path, **bounds) as there:
        assert there.chat("x").status_code == 504
        assert there.chat("x", stream=True).status_code == 504
        assert there.chat("x", n=3).status_code == 429
        text = metrics(there)
    assert 'status="504"} 2.0' in text
    assert 'status="429"} 1.0' in text


def test_a_server_that_is_not_there_yet(tmp_path: Path, caplog: Any) -> None:
    with running([elsewhere("http://127.0.0.1:9/v1#m")], tmp_path) as there:
        assert there.chat("x").status_code == 502
        assert there.http.get("/health").status_code == 200
    assert "127.0.0.1:9" in caplog.text


def test_names_are_looked_up_and_vetted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # S-16
    with serving(replies(said("ok"))) as other:
        port = other.server_port
        with running([elsewhere(f"http://localhost:{port}/v1#m")], tmp_path) as there:
            assert there.chat("x").status_code == 200
        assert other.hosts == [f"localhost:{port}"]
        there_only = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
        real = socket.getaddrinfo

        def resolver(host: str, *args: Any, **kwargs: Any) -> Any:
            return there_only if host == "models.example" else real(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", resolver)
        body = ChatRequest(model="m", messages=[Turn(role="user", content="x")])

        async def ask() -> None:
            aside = Upstream(f"http://models.example:{port}/v1#m", BatchLimits())
            with pytest.raises(InputError, match="this machine"):
                await aside.look()
            with pytest.raises(DecodingError, match="cannot be reached"):
                await aside.ask(Chat(), body, [{"role": "user", "content": "x"}])
            await aside.close()

        asyncio.run(ask())
        assert len(other.bodies) == 1


def test_the_command_line(up: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEYS, f"127.0.0.1:{up.port}={TOKEN}")
    process, told = start(f"{up.url}/v1#one", tmp_path)
    try:
        assert told["models"] == {"one": "one"}
        with httpx2.Client(headers={"authorization": f"Bearer {told['token']}"}) as client:
            body = {"model": "burnish", "messages": [{"role": "user", "content": "Hello"}],
                    "temperature": 0, "max_tokens": 6}  # fmt: skip
            answer = client.post(f"{told['url']}/chat/completions", json=body).json()
        assert answer["choices"] == up.post("/v1/chat/completions", **body).json()["choices"]
    finally:
        process.terminate()
        assert process.wait(60) == 0


def test_addresses_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no model is served"):
        Upstream("http://169.254.169.254/v1#m", BatchLimits())  # S-16
    monkeypatch.setenv(KEYS, CANARY)
    with pytest.raises(InputError, match="host=key") as refused:
        Upstream("http://127.0.0.1:9/v1#m", BatchLimits())
    assert CANARY not in str(refused.value)
