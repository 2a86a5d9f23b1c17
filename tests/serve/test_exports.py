"""Exported models behind the server: GGUF files in llama.cpp, ONNX folders in our own batching."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import psutil
import pytest

from burnish.exporting import write
from burnish.models.load import Loaded
from burnish.sampling import BatchLimits, Completion, QueueFull, Sampling, generate
from burnish.serve import llama
from burnish.serve.arms import Place, Served
from burnish.store.registry import Registry
from burnish.text.templates import encode_prompt

from .conftest import TOKEN, Running, metrics, running, served, start, streamed_at_once
from .exported import ATTACK, TEXTS, children, user

OFF = 0.02
"""How far log-probabilities of float16 weights and activations may be off."""
LONG = {"max_tokens": 200, "temperature": 0}


@pytest.fixture(scope="module")
def there(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of a GGUF file, for tests that leave it as it was."""
    one, runs = served("one", folders["gguf"]), tmp_path_factory.mktemp("runs")
    with running([one], runs, batch=BatchLimits(rows=4, waiting=64)) as made:
        yield made


@pytest.fixture(scope="module")
def client(there: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{there.url}/v1", api_key=TOKEN, max_retries=0) as made:
        yield made


def expected(loaded: Loaded, text: str, tokens: int = 16) -> Completion:
    """The greedy reply of the model that was exported."""
    ids = encode_prompt(loaded.tokenizer, user(text))
    sampling = Sampling(temperature=0, max_new_tokens=tokens)
    return generate(loaded.model, loaded.tokenizer, [ids], sampling, seeds=[0])[0]


def until(true: Callable[[], Any]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def engine(there: Running) -> Any:
    return there.service.arms.all[0].engine


def test_greedy_replies_are_those_of_the_model(client: openai.OpenAI, source: write.Source) -> None:
    same = 0
    for text in TEXTS:
        answer = client.chat.completions.create(
            model="one", messages=user(text), temperature=0, max_tokens=16
        )
        reply = expected(source.loaded, text)
        (choice,) = answer.choices
        assert answer.usage is not None
        prompt = encode_prompt(source.loaded.tokenizer, user(text))
        assert answer.usage.prompt_tokens == len(prompt)
        if choice.message.content == reply.text:
            same += 1
            assert choice.finish_reason == reply.finish
            # Tokens that are part of a character count too.
            assert answer.usage.completion_tokens == len(reply.tokens)
    assert same >= len(TEXTS) - 1  # a near tie may flip


def test_several_choices_and_their_stream(client: openai.OpenAI) -> None:
    asked: Any = {"model": "burnish", "messages": user("Hello"), "n": 3, "max_tokens": 12}
    drawn = client.chat.completions.create(**asked, seed=5, top_p=0.9)
    assert len({choice.message.content for choice in drawn.choices}) == 3
    whole = client.chat.completions.create(**asked, temperature=0)
    texts, finishes, usage = ["", "", ""], {}, None
    options: Any = {"include_usage": True}
    for event in client.chat.completions.create(
        **asked, temperature=0, stream=True, stream_options=options
    ):
        usage = event.usage or usage
        for choice in event.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                finishes[choice.index] = choice.finish_reason
    assert texts == [choice.message.content for choice in whole.choices]
    assert finishes == {choice.index: choice.finish_reason for choice in whole.choices}
    assert usage == whole.usage
    assert usage is not None
    assert usage.completion_tokens > 12  # of all three


def test_stop_strings(client: openai.OpenAI) -> None:
    asked: Any = {"model": "one", "messages": user("Hello"), "temperature": 0, "max_tokens": 40}
    whole = client.chat.completions.create(**asked).choices[0].message.content
    assert whole
    stop = whole[4:6]
    for given in (stop, ["never said", stop]):
        (choice,) = client.chat.completions.create(**asked, stop=given).choices
        assert choice.message.content == whole[: whole.find(stop)]
        assert choice.finish_reason == "stop"
    events = client.chat.completions.create(**asked, stop=stop, stream=True)
    said = "".join(event.choices[0].delta.content or "" for event in events)
    assert said == whole[: whole.find(stop)]


def test_logprobs(client: openai.OpenAI, source: write.Source) -> None:
    reply = expected(source.loaded, "the hall", 8)
    asked: Any = {"model": "one", "temperature": 0, "max_tokens": 8}
    chat: Any = asked | {"messages": user("the hall"), "logprobs": True, "top_logprobs": 2}
    content = client.chat.completions.create(**chat).choices[0].logprobs.content
    words = [source.loaded.tokenizer.decode([token]) for token in reply.tokens]
    assert [one.token for one in content] == words
    assert [one.logprob for one in content] == pytest.approx(reply.logprobs, abs=OFF)
    for one in content:
        assert bytes(one.bytes).decode() == one.token
        assert len(one.top_logprobs) == 2
        assert one.top_logprobs[0].logprob == pytest.approx(one.logprob, abs=1e-5)
    events = client.chat.completions.create(**chat, stream=True)
    streamed = [one.token for event in events if event.choices[0].logprobs
                for one in event.choices[0].logprobs.content]  # fmt: skip
    assert streamed == [one.token for one in content]
    answer = client.completions.create(prompt="the hall", **asked, logprobs=1)
    told = answer.choices[0].logprobs
    assert told is not None
    assert told.text_offset is not None
    assert told.tokens is not None
    for token, offset in zip(told.tokens, told.text_offset, strict=True):
        assert answer.choices[0].text[offset:].startswith(token)
    # Nobody gets what was not asked for.
    assert client.completions.create(prompt="the hall", **asked).choices[0].logprobs is None


def test_completions(client: openai.OpenAI, source: write.Source) -> None:
    ids = [1, *source.encode("the hall")]
    sampling = Sampling(temperature=0, max_new_tokens=9)
    loaded = source.loaded
    reply = generate(loaded.model, loaded.tokenizer, [ids], sampling, seeds=[0])[0]
    asked: Any = {"model": "one", "temperature": 0, "max_tokens": 9}
    for prompt in ("the hall", ids):
        answer = client.completions.create(prompt=prompt, **asked)
        assert answer.choices[0].text == reply.text
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == len(ids)
    both = client.completions.create(prompt=["a", "the hall"], n=2, **asked)
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]
    assert both.choices[2].text == both.choices[3].text
    assert both.usage is not None
    assert both.usage.prompt_tokens == 2 + len(ids)
    with pytest.raises(openai.BadRequestError, match="the model has"):
        client.completions.create(prompt=[5, 10_000], **asked)


def test_control_tokens_in_user_text_are_text(
    client: openai.OpenAI, source: write.Source
) -> None:  # S-06
    said = {"model": "one", "max_tokens": 1}
    for text in (ATTACK, "<|bos|>", "a <|end|> b"):
        answer = client.chat.completions.create(messages=user(text), **said)  # type: ignore[call-overload]
        assert answer.usage.prompt_tokens == len(encode_prompt(source.loaded.tokenizer, user(text)))
        plain = client.completions.create(prompt=text, **said)  # type: ignore[call-overload]
        assert plain.usage.prompt_tokens == 1 + len(source.encode(text))


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("messages", [], "messages"),
        ("messages", user("x " * 600), "leaves no room"),
        ("messages", user("\ue0f0"), "messages.1.content"),
        ("tools", [], "tools"),
        ("n", 17, "at most 16"),
    ],
)
def test_what_is_refused(there: Running, field: str, value: Any, names: str) -> None:
    answer = there.chat("x", **{field: value})
    assert answer.status_code == 400
    assert names in answer.json()["error"]["message"]


def test_many_at_once_are_not_mixed_up(there: Running) -> None:
    texts = [f"{'word ' * (n % 7)}number {n}" for n in range(24)]
    replies = streamed_at_once(there, texts)
    asked = {"temperature": 0, "max_tokens": 12}
    alone = [there.chat(text, **asked).json()["choices"][0]["message"]["content"] for text in texts]
    assert len(set(alone)) > 12
    assert sum(a != b for a, b in zip(replies, alone, strict=True)) <= 2  # near ties may flip
    assert engine(there).load().running == engine(there).load().waiting == 0


def test_a_client_that_goes_away_frees_its_place(there: Running) -> None:
    body = {"model": "one", "messages": user("x"), "n": 6, "max_tokens": 200, "temperature": 1}

    async def leave(stream: bool) -> None:
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as client:
            url = f"{there.url}/v1/chat/completions"
            asking = asyncio.create_task(client.post(url, json={**body, "stream": stream}))
            while not (engine(there).load().running and engine(there).load().waiting):
                await asyncio.sleep(0.001)
            asking.cancel()

    for stream in (True, False):
        asyncio.run(leave(stream))
        until(lambda: engine(there).load().running == engine(there).load().waiting == 0)


def test_too_many_wait(there: Running) -> None:
    assert there.post("/v1/completions", model="one", prompt=["x"] * 65).status_code == 429
    assert engine(there).load().waiting == 0


def test_ids_are_those_of_training(folders: dict[str, Path], source: write.Source) -> None:
    """S-06, C-07: conversations of all kinds, in llama.cpp's tokenizer and template."""
    spoken: list[Any] = [
        user("Hello"),
        [{"role": "system", "content": "Be  brief.\n"}, *user(" 你好 ")],
        [*user("one"), {"role": "assistant", "content": f"two {ATTACK}"}, *user(ATTACK)],
        user(f"{ATTACK}{ATTACK}"),
        user(""),
    ]

    async def encoded() -> list[list[int]]:
        one = await llama.opened(folders["gguf"] / "model.gguf", "m", BatchLimits(rows=1))
        try:
            with pytest.raises(QueueFull):
                one.ask([[1]] * 257, Sampling(), [0], None)
            return [await one.encode_chat(messages) for messages in spoken]
        finally:
            await one.close()

    tokenizer = source.loaded.tokenizer
    assert asyncio.run(encoded()) == [encode_prompt(tokenizer, messages) for messages in spoken]


def test_memory_bounds_rows_and_context(folders: dict[str, Path]) -> None:
    """A token has 32 numbers in 4 heads of 4 layers, for key and value, of 2 bytes: 2 KiB."""

    async def shape(limits: BatchLimits) -> tuple[int, int]:
        one = await llama.opened(folders["gguf"] / "model.gguf", "m", limits)
        try:
            return one.context, one.places._value
        finally:
            await one.close()

    assert asyncio.run(shape(BatchLimits(rows=64, cache_mib=8))) == (512, 8)
    assert asyncio.run(shape(BatchLimits(rows=3, cache_mib=8))) == (512, 3)


def test_users_are_divided_and_say_what_they_think(
    folders: dict[str, Path], folder: Path, tmp_path: Path
) -> None:
    arms = [served("file", folders["q8"]), served("here", folder)]
    with running(arms, tmp_path) as there:
        answers = [there.chat("x", max_tokens=2, user=f"user {n}") for n in range(24)]
        assert {answer.headers["x-burnish-arm"] for answer in answers} == {"file", "here"}
        key = there.chat("x", model="file", max_tokens=4, user="ann").json()["id"]
        assert there.post("/v1/feedback", id=key, thumbs="up").json()["stored"]
        assert 'burnish_tokens_total{arm="file",what="drawn"}' in metrics(there)
    with Registry(tmp_path / "registry.sqlite") as registry:
        (row,) = registry.feedback()
    assert (row.ref, row.content["arm"]) == ("file", "file")


def streamed(there: Running, model: str, during: Callable[[], object]) -> list[Any]:
    """Events of a long reply, with something done once it has begun."""
    body = {"model": model, "messages": user("Hello"), "stream": True, **LONG}
    with there.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()
        begun = [next(lines) for _ in range(6)]
        during()
        return [json.loads(line[6:]) for line in [*begun, *lines] if line.startswith("data: {")]


def test_another_file_takes_over_and_nothing_is_dropped(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    now = [Place(str(folders["gguf"]), "a")]
    with running([Served("run", 1, lambda: now[0])], tmp_path) as there:
        first = engine(there).process

        def swap() -> None:
            now[0] = Place(str(folders["q8"]), "b")
            until(lambda: there.service.arms.all[0].swaps == 1)
            assert there.chat("x", max_tokens=1).headers["x-burnish-model"] == "b"

        events = streamed(there, "run", swap)
        assert events[-1]["choices"][0]["finish_reason"] in ("length", "stop")
        until(lambda: not first.alive)


def test_a_process_that_dies_is_started_again(folders: dict[str, Path], tmp_path: Path) -> None:
    before = set(children(os.getpid()))
    with running([served("one", folders["gguf"])], tmp_path) as there:
        (child,) = set(children(os.getpid())) - before
        events = streamed(there, "one", child.kill)
        assert "failed" in events[-1]["error"]["message"]
        until(lambda: there.service.arms.all[0].swaps == 1)
        assert there.chat("x", max_tokens=1).status_code == 200
        assert engine(there).load().running == 0


def test_sigterm_lets_requests_end(folders: dict[str, Path], tmp_path: Path) -> None:
    """To llama.cpp too, as a service manager sends it; nothing is left then."""
    process, told = start(folders["gguf"], tmp_path)
    (child,) = children(process.pid)
    headers = {"authorization": f"Bearer {told['token']}"}
    body = {"model": "burnish", "messages": user("Hello"), "stream": True, **LONG}
    with (
        httpx2.Client(base_url=told["url"], headers=headers, timeout=60) as client,
        client.stream("POST", "/chat/completions", json=body) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        child.send_signal(signal.SIGTERM)
        process.terminate()
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert process.wait(60) == 0
    assert psutil.wait_procs([child], timeout=20)[1] == []
