"""The client of served models against a real server that misbehaves as told."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.serving import (
    Answer,
    Handler,
    cut,
    drips,
    dropped,
    echo,
    fails,
    last,
    replies,
    said,
    serving,
)

from burnish.config import InputError
from burnish.sampling import EndpointError, EndpointSettings, Request, Sampling, ServedSampler
from burnish.sampling.address import KEYS
from burnish.sampling.served import MOST_FAILURES
from burnish.store.metrics import Metrics

KEY = "canary-7f3a91"
QUICK = {"pause": 0.01, "timeout": 5.0}


def asked(*texts: str, seeds: list[int] | None = None) -> list[Request]:
    numbers = seeds or [0] * len(texts)
    return [
        Request([{"role": "user", "content": text}], seed, f"id-{text}")
        for text, seed in zip(texts, numbers, strict=True)
    ]


def ask(server: Any, *texts: str, journal: Path | None = None, **changes: Any) -> list[Any]:
    sampling = changes.pop("sampling", Sampling())
    seeds, progress = changes.pop("seeds", None), changes.pop("progress", None)
    ref = changes.pop("ref", server.ref)
    sampler = ServedSampler(ref, EndpointSettings(**(QUICK | changes)), journal)
    return sampler.complete(asked(*texts, seeds=seeds), sampling, progress)


def test_what_is_asked_and_what_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, max_new_tokens=7, stop=["\n", "。"])
    with serving(replies(said("ab", "length"))) as server:
        monkeypatch.setenv(KEYS, f"other.example=no {server.netloc}={KEY}\n")
        [reply] = ask(server, "hi", sampling=sampling, seeds=[2**40 + 5])
        monkeypatch.setenv(KEYS, "other.example=no")
        [plain] = ask(server, "hi")
    assert (reply.text, reply.finish, reply.tokens, reply.logprobs) == ("ab", "length", [], [])
    assert server.seen[0][:2] == ("/v1/chat/completions", f"Bearer {KEY}")
    assert server.bodies[0] == {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5,
        "top_p": 0.9, "max_tokens": 7, "seed": 5, "stop": ["\n", "。"],
    }  # fmt: skip
    assert server.seen[1][1] is None
    assert "stop" not in server.bodies[1]
    assert plain == reply


def test_forms_of_replies() -> None:
    stop = Sampling(stop=["。"])
    for answer, sampling, text, finish in (
        (said("你好。再见", "length"), stop, "你好", "stop"),  # the server knows no stop strings
        (said("cut", "content_filter"), stop, "cut", "length"),
        (said("x", logprobs=None), stop, "x", "stop"),
        (json.dumps({"choices": [{"message": {"content": None}}]}).encode(), stop, "", "length"),
    ):
        with serving(replies(answer)) as server:
            [reply] = ask(server, "hi", sampling=sampling)
        assert (reply.text, reply.finish, reply.logprobs) == (text, finish, [])


@pytest.mark.parametrize(
    "bad",
    [fails(500), fails(503), fails(408), cut, dropped],
    ids=["500", "503", "408", "cut", "drop"],
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
        slow = fails(429, b"slow down", Retry_After=header)
        with (
            serving(slow, echo) as server,
            pytest.raises(
                EndpointError,
                match=r"status 429: 'slow down'; it asks to wait .* above longest_pause",
            ),
        ):
            ask(server, "a")
        assert len(server.bodies) == 1
    for header in ("Thu, 01 Jan 1970 00:00:00 GMT", "soon", "-1"):
        with serving(fails(429, Retry_After=header), echo) as server:
            assert len(ask(server, "a")) == 1


def test_attempts_and_time_are_bounded() -> None:
    with serving(fails(502, b"bad gateway")) as server:
        expected = "id-a: status 502: 'bad gateway'; gave up after 3 attempts"
        with pytest.raises(EndpointError, match=expected) as error:
            ask(server, "a", attempts=3)
        assert str(error.value).startswith(server.url)
    assert len(server.bodies) == 3
    with serving(fails(501)) as server, pytest.raises(EndpointError, match="status 501"):
        ask(server, "a")
    assert len(server.bodies) == 1
    # slow. The limit is for the whole reply, however it drips.
    for slow in (drips, lambda handler, body: time.sleep(0.5)):
        with serving(slow) as server:
            begin = time.monotonic()
            with pytest.raises(EndpointError, match=r"no whole reply within 0\.2 s"):
                ask(server, "a", attempts=1, timeout=0.2)
            assert time.monotonic() - begin < 10
    with pytest.raises(EndpointError, match=r"the connection failed \(ConnectError: .*refused"):
        ask(server, "a", attempts=2)  # nobody is there any more


@pytest.mark.parametrize(
    "wrong",
    [
        b"<html>busy</html>", b'{"choices": [', b"[]", b"7", b'{"choices": []}', b"[" * 100_000,
        b'{"choices": [{"message": {}}]}', b'{"choices": [{"message": {"content": 3}}]}',
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
    # All completions of this server have the same id, which means nothing.
    ended: list[int] = []
    with serving(echo) as server:
        texts = ["a", "b", "a", "a"]
        found = ask(server, *texts, seeds=[1, 1, 1, 2], progress=ended.append)
    assert [reply.text for reply in found] == ["a|1", "b|1", "a|1", "a|2"]
    assert len(server.bodies) == 3
    assert sum(ended) == 4


def test_as_many_requests_at_once_as_asked_for_and_replies_in_order() -> None:
    def later_ones_first(handler: Handler, body: dict[str, Any]) -> None:
        time.sleep(0.12 - 0.01 * int(last(body)))
        echo(handler, body)

    with serving(later_ones_first) as server:
        texts = [str(i) for i in range(12)]
        assert [r.text for r in ask(server, *texts, concurrency=3)] == [f"{t}|0" for t in texts]
    assert server.most == 3


def test_a_failed_request_is_named_and_loses_no_other(tmp_path: Path) -> None:
    # partial progress kept.
    journal = tmp_path / "folder" / "replies.jsonl"

    def breaks_at_c(handler: Handler, body: dict[str, Any]) -> None:
        handler.give(b"too long", 400) if last(body) == "c" else echo(handler, body)

    with serving(breaks_at_c) as server:
        with pytest.raises(EndpointError) as error:
            ask(server, "a", "b", "c", "d", journal=journal, concurrency=1)
        assert len(server.bodies) == 4
    assert str(error.value) == (
        f"{server.url}: 1 of 4 replies are missing; those that came are kept in {journal}\n"
        "  id-c: status 400: 'too long'"
    )
    assert error.value.status == 400
    assert [row["text"] for row in Metrics(journal).read()] == ["a|0", "b|0", "d|0"]
    ended: list[int] = []
    with serving(echo) as server:
        found = ask(server, "a", "b", "c", "d", journal=journal, progress=ended.append)
        assert [last(body) for body in server.bodies] == ["c"]
        assert [reply.text for reply in found] == ["a|0", "b|0", "c|0", "d|0"]
        assert ended == [3, 1]
        assert ask(server, "a", "b", "c", "d", journal=journal) == found
        assert len(server.bodies) == 1
        # Another seed, sampling, text or model is another request.
        ask(server, "a", journal=journal, seeds=[1])
        ask(server, "a", journal=journal, sampling=Sampling(stop=["."]))
        ask(server, "a ", journal=journal)
        ask(server, "a", journal=journal, ref=f"{server.url}#n")
    assert len(server.bodies) == 5


def test_a_torn_or_foreign_line_of_the_journal_is_left_out(tmp_path: Path) -> None:
    journal = tmp_path / "replies.jsonl"
    with serving(echo) as server:
        ask(server, "a", "b", journal=journal, concurrency=1)
        whole = journal.read_bytes()
        second = whole.splitlines(keepends=True)[1]
        # The process was killed while it wrote the second; a stranger's line is in the way.
        journal.write_bytes(whole[: -len(second)] + b'{"key": "x", "text": 3}\n' + second[:-9])
        assert [r.text for r in ask(server, "a", "b", journal=journal)] == ["a|0", "b|0"]
        assert [last(body) for body in server.bodies] == ["a", "b", "b"]
        assert len(ask(server, "a", "b", journal=journal)) == 2
    assert len(server.bodies) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_every_request_would_get_stops_them_all(status: int) -> None:
    def refuses_one(handler: Handler, body: dict[str, Any]) -> None:
        handler.give(b"{}", status if last(body) == "x" else 503)

    with serving(refuses_one) as server:
        begin = time.monotonic()
        with pytest.raises(EndpointError, match=f"id-x: status {status}"):
            ask(server, "a", "x", *map(str, range(50)), pause=30.0, concurrency=2)
        assert time.monotonic() - begin < 25
    assert len(server.bodies) <= 4


def test_a_server_that_is_down_is_not_asked_for_everything() -> None:
    texts = [str(i) for i in range(100)]
    with serving(fails(500)) as server:
        with pytest.raises(EndpointError, match=r"100 of 100 replies are missing[^;]*\n") as error:
            ask(server, *texts, attempts=1, concurrency=1)
        assert MOST_FAILURES < len(server.bodies) < 20
    assert str(error.value).endswith("and 4 more failed")

    def every_second(handler: Handler, body: dict[str, Any]) -> None:
        handler.give(b"", 400) if int(last(body)) % 2 else echo(handler, body)

    # More failures, but not in a row.
    with serving(every_second) as server, pytest.raises(EndpointError, match="20 of 40 replies"):
        ask(server, *texts[:40], concurrency=1)
    assert len(server.bodies) == 40


def test_what_the_server_says_of_its_model() -> None:
    rows = [
        {"id": "other", "root": "o"},
        {"id": "m", "root": "org/m", "created": time.time(), "max_model_len": 4096, "parent": None},
    ]
    for listing, expected in (
        (replies(json.dumps({"data": rows}).encode()), {"root": "org/m", "max_model_len": 4096}),
        (replies(b'{"data": [{"id": "other"}, 3]}'), None),
        (replies(b"[]"), None),
        (replies(b"<html>"), None),
        (fails(404), None),
        (fails(501), None),
    ):
        with serving(echo, listing=listing) as server:
            found = ServedSampler(server.ref, EndpointSettings(**QUICK)).listed()
        assert found == (None if expected is None else {"id": "m", **expected})
        assert server.gets == [("/v1/models", None)]
    with pytest.raises(EndpointError, match="connection failed"):
        ServedSampler(server.ref, EndpointSettings(**QUICK, attempts=2)).listed()


def test_the_key_appears_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # S-15: the canary, also where the server repeats it.
    caplog.set_level("DEBUG")
    journal = tmp_path / "journal.jsonl"
    told = json.dumps({"error": f"wrong key {KEY}"}).encode()
    messages = []
    for answer in (fails(401, told), replies(told), fails(500, told)):
        with serving(answer) as server:
            monkeypatch.setenv(KEYS, f"{server.netloc}={KEY}")
            with pytest.raises(EndpointError) as error:
                ask(server, "a", journal=journal, attempts=2)
        messages.append(str(error.value))
    assert all("wrong key [hidden]" in message for message in messages)
    assert KEY not in caplog.text
    with serving(echo) as server:
        monkeypatch.setenv(KEYS, f"{server.netloc}={KEY}")
        ask(server, "a", journal=journal)
        assert server.seen[0][1] == f"Bearer {KEY}"
    assert KEY not in journal.read_text()


@pytest.mark.parametrize("value", [KEY, f"={KEY}", "host=", f"a=b {KEY}", f"host={KEY}é"])
def test_malformed_keys_are_refused_and_not_repeated(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S-15
    monkeypatch.setenv(KEYS, value)
    with serving(echo) as server, pytest.raises(InputError, match="must hold host=key") as error:
        ask(server, "a")
    assert KEY not in str(error.value)
    assert server.bodies == []


SCHEMA = {"type": "object"}


def formed(*texts: str) -> list[Request]:
    return [replace(one, schema=SCHEMA) for one in asked(*texts)]


def test_a_schema_is_sent_where_it_is_asked_for(tmp_path: Path) -> None:
    journal = tmp_path / "replies.jsonl"
    with serving(echo) as server:
        sampler = ServedSampler(server.ref, EndpointSettings(**QUICK), journal)
        sampler.complete(formed("a"), Sampling())
        sampler.complete(asked("a"), Sampling())  # another question: it may be answered otherwise
        ServedSampler(server.ref, None, journal).complete(formed("a"), Sampling())
    first, second = server.bodies
    form = {"name": "reply", "strict": True, "schema": SCHEMA}
    assert first.pop("response_format") == {"type": "json_schema", "json_schema": form}
    assert first == second


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_schemas_is_asked_without(status: int) -> None:
    def plain(handler: Handler, body: dict[str, Any]) -> None:
        (fails(status) if "response_format" in body else echo)(handler, body)

    with serving(plain) as server:
        sampler = ServedSampler(server.ref, EndpointSettings(**QUICK, concurrency=1))
        made = sampler.complete(formed("a", "b"), Sampling())
        made += sampler.complete(formed("c"), Sampling())
    assert [one.text for one in made] == ["a|0", "b|0", "c|0"]
    assert ["response_format" in body for body in server.bodies] == [True, *[False] * 3]


def test_a_conversation_that_is_refused_says_nothing_of_schemas() -> None:
    def picky(handler: Handler, body: dict[str, Any]) -> None:
        (fails(400) if last(body) == "a" else echo)(handler, body)

    with serving(picky) as server:
        sampler = ServedSampler(server.ref, EndpointSettings(**QUICK, concurrency=1))
        with pytest.raises(EndpointError, match="1 of 2 replies are missing"):
            sampler.complete(formed("a", "b"), Sampling())
    assert ["response_format" in body for body in server.bodies] == [True, False, True]


def test_the_likeliest_tokens_are_kept_as_replies_are(tmp_path: Path) -> None:
    top = [{"token": "A", "logprob": -0.5, "bytes": [65]}, {"token": "B", "logprob": -1e999}]
    places = {"content": [{"token": "A", "logprob": -0.5, "top_logprobs": top}]}
    journal = tmp_path / "replies.jsonl"
    with serving(replies(said("A", logprobs=places))) as server:
        for _ in range(2):
            sampler = ServedSampler(server.ref, EndpointSettings(**QUICK), journal)
            assert sampler.top_tokens(asked("a")) == [[{"A": -0.5}]]
    [body] = server.bodies
    assert (body["logprobs"], body["top_logprobs"], body["temperature"]) == (True, 20, 0.0)


@pytest.mark.parametrize("worth", [None, {"content": []}, {"content": [{"token": "A"}]}, "x"])
def test_an_answer_without_log_probabilities_is_an_error(worth: Any) -> None:
    with serving(replies(said("A", logprobs=worth))) as server:
        sampler = ServedSampler(server.ref, EndpointSettings(**QUICK))
        with pytest.raises(EndpointError, match="without log-probabilities") as caught:
            sampler.top_tokens(asked("a"))
    assert caught.value.status == 200


def test_a_cap_counts_every_request_and_keeps_what_came(tmp_path: Path) -> None:
    journal = tmp_path / "replies.jsonl"
    with serving(fails(500), echo) as server:
        settings = EndpointSettings(**QUICK, concurrency=1)
        capped = ServedSampler(server.ref, settings, journal, max_requests=3)
        with pytest.raises(EndpointError, match="the cap of 3 requests is spent") as caught:
            capped.complete(asked("a", "b", "c"), Sampling())
        assert "1 of 3 replies are missing" in str(caught.value)
        assert len(server.bodies) == 3  # a failure, then two replies
        free = ServedSampler(server.ref, settings, journal)
        assert [one.text for one in free.complete(asked("a", "b", "c"), Sampling())] == [
            "a|0", "b|0", "c|0"
        ]  # fmt: skip
        assert len(server.bodies) == 4
