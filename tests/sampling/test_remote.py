"""A real HTTP server on loopback that misbehaves as told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from burnish.config import InputError
from burnish.sampling import Sampling
from burnish.sampling.remote import EndpointError, RemoteSettings, complete
from burnish.store.metrics import Metrics

KEY = "canary-7f3a91"
Answer = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.bodies.append(body)
            self.server.seen.append((self.path, self.headers["Authorization"], time.monotonic()))
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            answers = self.server.answers
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self, body)
        with self.server.lock:
            self.server.now -= 1

    def give(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None: ...


@contextmanager
def serving(*answers: Answer) -> Iterator[Any]:
    """A server that gives these answers in turn, the last one for ever."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.bodies, server.seen = list(answers), [], []
    server.lock, server.now, server.most = threading.Lock(), 0, 0
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def said(text: str, finish: str = "stop", **choice: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {"choices": [{"message": message, "finish_reason": finish, **choice}]}
    ).encode()


def echo(handler: Handler, body: dict[str, Any]) -> None:
    handler.give(said(f"{body['messages'][-1]['content']}|{body['seed']}"))


def fails(status: int, content: bytes = b"{}", **headers: str) -> Answer:
    return lambda handler, body: handler.give(content, status, **headers)


def replies(content: bytes) -> Answer:
    return lambda handler, body: handler.give(content)


def cut(handler: Handler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(said("half")[:20])
    handler.close_connection = True


def drips(handler: Handler, body: dict[str, Any]) -> None:
    """A byte every 50 ms: never a silence, never an end."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    try:
        for _ in range(400):
            handler.wfile.write(b" ")
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def user(*texts: str) -> list[list[Any]]:
    return [[{"role": "user", "content": text}] for text in texts]


def ask(server: Any, *texts: str, cache: Path | None = None, **changes: Any) -> list[Any]:
    sampling = changes.pop("sampling", Sampling())
    seeds = changes.pop("seeds", [0] * len(texts))
    progress = changes.pop("progress", None)
    settings = RemoteSettings(
        **({"url": server.url, "model": "m", "pause": 0.01, "timeout": 5.0} | changes)
    )
    return complete(settings, user(*texts), sampling, seeds=seeds, cache=cache, progress=progress)


def test_what_is_asked_and_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_KEY", KEY)
    scored = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -2}]}
    sampling = Sampling(temperature=0.5, top_p=0.9, max_new_tokens=7, stop=["\n", "。"])
    with serving(replies(said("ab", "length", logprobs=scored))) as server:
        [reply] = ask(
            server,
            "hi",
            sampling=sampling,
            seeds=[2**40 + 5],
            key_variable="CANARY_KEY",
            logprobs=True,
        )
        [plain] = ask(server, "hi")
    assert (reply.text, reply.finish, reply.tokens) == ("ab", "length", [])
    assert reply.logprobs == [-0.5, -2.0]
    assert server.seen[0][:2] == ("/v1/chat/completions", f"Bearer {KEY}")
    assert server.bodies[0] == {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5,
        "top_p": 0.9, "max_tokens": 7, "seed": 5, "stop": ["\n", "。"], "logprobs": True,
    }  # fmt: skip
    assert server.seen[1][1] is None
    assert not {"stop", "logprobs"} & server.bodies[1].keys()
    assert plain == reply


def test_forms_of_replies() -> None:
    stop = Sampling(stop=["。"])
    for answer, sampling, text, finish in (
        (
            said("你好。再见", "length"),
            stop,
            "你好",
            "stop",
        ),  # the server does not know stop strings
        (said("cut", "content_filter"), stop, "cut", "length"),
        (said("x", logprobs=None), stop, "x", "stop"),
        (json.dumps({"choices": [{"message": {"content": None}}]}).encode(), stop, "", "length"),
    ):
        with serving(replies(answer)) as server:
            [reply] = ask(server, "hi", sampling=sampling)
        assert (reply.text, reply.finish, reply.logprobs) == (text, finish, [])


@pytest.mark.parametrize(
    "bad", [fails(500), fails(503), fails(408), cut], ids=["500", "503", "408", "cut"]
)
def test_passing_failures_are_tried_again(bad: Answer) -> None:
    # 500, cut mid-stream.
    with serving(bad, bad, echo) as server:
        assert [r.text for r in ask(server, "a")] == ["a|0"]
    assert len(server.bodies) == 3


def test_retry_after_is_honoured() -> None:
    # 429. Own pauses would be a hundredth of a second.
    with serving(fails(429, Retry_After="0.4"), echo) as server:
        assert [r.text for r in ask(server, "a")] == ["a|0"]
    first, second = (when for _, _, when in server.seen)
    assert second - first >= 0.4
    for header in ("3600", "Fri, 01 Jan 2100 00:00:00 GMT"):
        with (
            serving(fails(429, Retry_After=header), echo) as server,
            pytest.raises(
                EndpointError, match=r"status 429; it asks to wait .* above longest_pause"
            ),
        ):
            ask(server, "a")
        assert len(server.bodies) == 1
    for header in ("Thu, 01 Jan 1970 00:00:00 GMT", "soon", "-1"):
        with serving(fails(429, Retry_After=header), echo) as server:
            assert len(ask(server, "a")) == 1


def test_attempts_and_time_are_bounded() -> None:
    with serving(fails(502)) as server:
        with pytest.raises(EndpointError, match="status 502; gave up after 3 attempts") as error:
            ask(server, "a", attempts=3)
        assert str(error.value).startswith(server.url)
    assert len(server.bodies) == 3
    # slow. The limit is for the whole reply, however it drips.
    for slow in (drips, lambda handler, body: time.sleep(0.5)):
        with serving(slow) as server:
            begin = time.monotonic()
            with pytest.raises(EndpointError, match=r"no whole reply within 0\.2 s"):
                ask(server, "a", attempts=1, timeout=0.2)
            assert time.monotonic() - begin < 10
    nobody = server.url
    with pytest.raises(EndpointError, match=r"the connection failed \(ConnectError\)"):
        complete(
            RemoteSettings(url=nobody, model="m", attempts=2, pause=0.01),
            user("a"), Sampling(), seeds=[0],
        )  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        b"<html>busy</html>", b'{"choices": [', b"[]", b"7", b'{"choices": []}', b"[" * 100_000,
        b'{"choices": [{"message": {}}]}', b'{"choices": [{"message": {"content": 3}}]}',
        said("x", logprobs={"content": [{"logprob": "much"}]}),
    ],
)  # fmt: skip
def test_wrong_json_names_the_endpoint(wrong: bytes) -> None:
    # wrong JSON. It would be as wrong a second time.
    with serving(replies(wrong)) as server:
        with pytest.raises(EndpointError, match="an answer that is no") as error:
            ask(server, "a")
        assert str(error.value).startswith(server.url)
        assert len(str(error.value)) < 500
    assert len(server.bodies) == 1


def test_equal_requests_are_asked_once() -> None:
    ended: list[int] = []
    with serving(echo) as server:
        texts = ["a", "b", "a", "a"]
        found = ask(server, *texts, seeds=[1, 1, 1, 2], progress=ended.append)
    assert [reply.text for reply in found] == ["a|1", "b|1", "a|1", "a|2"]
    assert len(server.bodies) == 3
    assert sum(ended) == 4
    with pytest.raises(ValueError, match="2 conversations need as many seeds, found 1"):
        ask(server, "a", "b", seeds=[0])


def test_no_more_requests_at_once_than_asked_for() -> None:
    def slow(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(0.03)
        echo(handler, body)

    with serving(slow) as server:
        texts = [str(i) for i in range(12)]
        assert [r.text for r in ask(server, *texts, concurrency=3)] == [f"{t}|0" for t in texts]
    assert server.most == 3


def test_replies_that_came_are_not_asked_again(tmp_path: Path) -> None:
    # partial progress kept.
    cache = tmp_path / "folder" / "replies.jsonl"

    def breaks_at_c(handler: Handler, body: dict[str, Any]) -> None:
        broken = body["messages"][0]["content"] == "c"
        handler.give(b"no", 400) if broken else echo(handler, body)

    with serving(breaks_at_c) as server:
        with pytest.raises(EndpointError, match="status 400: 'no'"):
            ask(server, "a", "b", "c", "d", cache=cache, concurrency=1)
        assert len(server.bodies) == 3  # "d" was not begun
    kept = cache.read_bytes()
    assert [row["text"] for row in Metrics(cache).read()] == ["a|0", "b|0"]
    # The process is killed while it writes the third; and a stranger's line is in the way.
    cache.write_bytes(kept + b'{"key": "x", "text": 3}\n{"key": "ab')
    ended: list[int] = []
    with serving(echo) as server:
        found = ask(server, "a", "b", "c", "d", cache=cache, progress=ended.append)
        assert sorted(body["messages"][0]["content"] for body in server.bodies) == ["c", "d"]
        assert [reply.text for reply in found] == ["a|0", "b|0", "c|0", "d|0"]
        assert ended == [2, 1, 1]
        assert ask(server, "a", "b", "c", "d", cache=cache) == found
        assert len(server.bodies) == 2
        # Another seed, sampling or model is another request.
        ask(server, "a", cache=cache, seeds=[1])
        ask(server, "a", cache=cache, sampling=Sampling(stop=["."]))
        ask(server, "a", cache=cache, model="n")
    assert len(server.bodies) == 5


def test_an_error_stops_those_that_wait() -> None:
    def refuses_one(handler: Handler, body: dict[str, Any]) -> None:
        handler.give(b"{}", 404 if body["messages"][0]["content"] == "x" else 503)

    with serving(refuses_one) as server:
        begin = time.monotonic()
        with pytest.raises(EndpointError, match="status 404"):
            ask(server, "a", "x", pause=30.0)
        assert time.monotonic() - begin < 25


def test_the_key_appears_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # S-15: the canary, also where the server repeats it.
    monkeypatch.setenv("CANARY_KEY", KEY)
    caplog.set_level("DEBUG")
    told = json.dumps({"error": f"wrong key {KEY}"}).encode()
    messages = []
    for answer in (fails(401, told), replies(told)):
        with serving(answer) as server, pytest.raises(EndpointError) as error:
            ask(server, "a", key_variable="CANARY_KEY", cache=tmp_path / "cache.jsonl")
        messages.append(str(error.value))
    assert all("wrong key [hidden]" in message for message in messages)
    assert KEY not in caplog.text
    with serving(echo) as server:
        ask(server, "a", key_variable="CANARY_KEY", cache=tmp_path / "cache.jsonl")
        assert server.seen[0][1] == f"Bearer {KEY}"
    assert KEY not in (tmp_path / "cache.jsonl").read_text()
    for variable, found in (
        (KEY, "must be the name of an environment variable"),
        ("NO_SUCH_KEY", r"NO_SUCH_KEY \(key_variable\) is not set"),
    ):
        with serving(echo) as server, pytest.raises(InputError, match=found) as bad:
            ask(server, "a", key_variable=variable)
        assert KEY not in str(bad.value)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://host/v1", "//host/v1", "host:80/v1", "http://", "http:///v1",
        f"http://user:{KEY}@127.0.0.1/v1", f"http://{KEY}@127.0.0.1/v1", "http://a\\@b/v1",
        "http://host /v1", "http://host/v1\n", "http://host:99999/v1", "http://[::1/v1",
        f"http://host/v1?key={KEY}", "http://host/v1#x",
    ],
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    # S-16, S-15: and not repeated, as they may hold a secret.
    settings = RemoteSettings(url=url, model="m")
    with pytest.raises(InputError, match="the endpoint's url") as error:
        complete(settings, user("a"), Sampling(), seeds=[0])
    assert KEY not in str(error.value)


def test_redirects_are_not_followed() -> None:
    # S-16
    with serving(echo) as other:
        with (
            serving(fails(307, Location=f"{other.url}/chat/completions")) as server,
            pytest.raises(EndpointError, match="status 307; redirects are not followed"),
        ):
            ask(server, "a")
        assert other.bodies == []
