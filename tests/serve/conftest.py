"""A real server on loopback, in a thread of this process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
import torch
from tests import tiny

from burnish.exporting import write
from burnish.exporting.forms import parse
from burnish.models.load import load_model
from burnish.models.save import save_model
from burnish.serve.arms import Arms, Place, Served
from burnish.serve.feedback import Book
from burnish.serve.server import listen, make_server
from burnish.serve.service import Service
from burnish.serve.settings import ServeSettings

TOKEN = "a-token-for-tests-only"

torch.set_num_threads(1)


class Running:
    """A server that runs, and what a test asks it with."""

    def __init__(self, server: Any, service: Service, port: int) -> None:
        self.server, self.service, self.port = server, service, port
        self.url = f"http://127.0.0.1:{port}"
        self.http = httpx2.Client(
            base_url=self.url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=60
        )

    def post(self, path: str, **body: Any) -> Any:
        return self.http.post(path, json=body)

    def chat(self, text: str, **more: Any) -> Any:
        asked = {"model": "burnish", "messages": [{"role": "user", "content": text}]}
        return self.post("/v1/chat/completions", **(asked | {"max_tokens": 8} | more))


@contextmanager
def running(
    served: Sequence[Served],
    folder: Path,
    route: Callable[[str], str] | None = None,
    **settings: Any,
) -> Iterator[Running]:
    chosen = ServeSettings(**({"watch_seconds": 0.05} | settings))
    service = Service(Arms(served, chosen, route), chosen, Book(folder / "registry.sqlite"))
    up = threading.Event()
    listener = listen("127.0.0.1", 0)
    server = make_server(service, listener, TOKEN, ready=up.set)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        assert up.wait(60)
        there = Running(server, service, listener.getsockname()[1])
        yield there
        there.http.close()
    finally:
        server.should_exit = server.force_exit = True
        thread.join(30)
        assert not thread.is_alive()


def saved(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A random model in a folder."""
    save_model(tiny.model(seed, **changes), tiny.tokenizer(), folder)
    return folder


def served(name: str, folder: Path, share: float = 1.0) -> Served:
    return Served(name, share, lambda: Place(str(folder), name))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("models") / "one")


@pytest.fixture(scope="session")
def up(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server of one random model, for tests that leave it as it was."""
    with running([served("one", folder)], tmp_path_factory.mktemp("runs")) as there:
        yield there


def metrics(there: Running) -> str:
    return str(there.http.get("/metrics").text)


def streamed_at_once(there: Running, texts: Sequence[str]) -> list[str]:
    """What the model "one" says to each, greedily, by the official client."""

    async def ask(client: openai.AsyncOpenAI, text: str) -> str:
        reply = ""
        async for event in await client.chat.completions.create(
            model="one", messages=[{"role": "user", "content": text}], temperature=0,
            max_tokens=12, stream=True,
        ):  # fmt: skip
            reply += event.choices[0].delta.content or ""
        return reply

    async def ask_all() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{there.url}/v1", api_key=TOKEN) as client:
            return await asyncio.gather(*(ask(client, text) for text in texts))

    return asyncio.run(ask_all())


def start(
    model: Path | str, runs: Path, *more: str
) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    command = [sys.executable, "-m", "burnish", "serve", str(model), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--runs", str(runs), *more], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> write.Source:
    """Random models write parts of characters, a trained one words."""
    made = write.Source(load_model("burnish-tiny", device="cpu"), tmp_path_factory.mktemp("trial"))
    made.__dict__["pattern"] = "gpt-2"  # tests/exporting finds it
    return made


@pytest.fixture(scope="session")
def folders(source: write.Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("exported")
    for form in map(parse, ("gguf:f16", "gguf:q8_0")):
        write.write(source, form, place / form.folder)
    return {"gguf": place / "gguf-f16", "q8": place / "gguf-q8_0"}
