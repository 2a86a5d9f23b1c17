"""A GGUF file behind this server: llama.cpp's own server, a process of its own on loopback.

It is asked for each reply by token ids and tells token by token, so that what clients get is worded
and counted here as with every other model. Its chat API would read control tokens inside messages
as what they are called (S-06), and counts only the first of several replies.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any

import httpx2
import torch

from burnish.config import InputError, Problem
from burnish.exporting.gguf_facts import Facts, read_facts
from burnish.exporting.process import RuntimeProcess
from burnish.exporting.runtimes import SPARE
from burnish.records import Message
from burnish.sampling import BatchLimits, QueueFull, Sampling
from burnish.sampling.batcher import MIB, room_for_reply
from burnish.sampling.generate import Finish
from burnish.serve.engine import DecodingError, Load, Piece, Worth
from burnish.serve.upstream import events
from burnish.store import manifest
from burnish.text.encoder import check
from burnish.text.layout import CLOSE, OPEN
from burnish.text.sandbox import vet

log = logging.getLogger(__name__)

SEEDS = 2**32 - 1
"""llama.cpp has fewer seeds, and takes this one for none."""
_MARKED = re.compile(f"{OPEN}(\\d+){CLOSE}")
_FAULTS = (httpx2.HTTPError, LookupError, TypeError, ValueError)
"""What it raises that llama.cpp is gone, or says what nobody understands."""


class Llama:
    """See ``engine.Model``; made by ``opened``.

    Args:
        process: llama.cpp with that file, for ``rows`` replies at once of ``context`` tokens each,
            prompts included.
        waiting: how many more may wait.
    """

    def __init__(
        self, ref: str, identity: str, facts: Facts, process: RuntimeProcess,
        context: int, rows: int, waiting: int,
    ) -> None:  # fmt: skip
        self.ref, self.identity, self.size = ref, identity, facts.size
        self.facts, self.process, self.context = facts, process, context
        url, key = process.address()
        self.client = httpx2.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}"},
            timeout=None,
            trust_env=False,  # no proxy stands before this machine's own address
            limits=httpx2.Limits(max_connections=rows + SPARE),
        )
        self.places = asyncio.Semaphore(rows)
        self.running = 0
        self._most_waiting = waiting
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        longest_first = sorted(facts.controls, key=len, reverse=True)
        self._controls = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")

    @property
    def alive(self) -> bool:
        """Whether its process is still there."""
        return self.process.alive

    def load(self) -> Load:
        """How busy it is."""
        return Load(self.running, len(self._tasks) - self.running)

    async def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """See ``Model``. Control tokens inside messages go through the template under marks."""
        check(messages)
        if not self.facts.template:
            raise InputError("this file has no chat template; ask /v1/completions")
        inside: list[str] = []

        def mark(found: re.Match[str]) -> str:
            inside.append(found[0])
            return f"{OPEN}{len(inside) - 1}{CLOSE}"

        marked = [{**one, "content": self._controls.sub(mark, one["content"])} for one in messages]
        text = str((await self._post("/apply-template", messages=marked))["prompt"])
        # The template's own control tokens stand at odd places.
        parts = self._controls.split(text)
        content = [
            self.facts.controls[part]
            if place % 2
            else _MARKED.sub(lambda found: inside[int(found[1])], part)
            for place, part in enumerate(parts)
            if part
        ]
        ids = await self._ids(content)
        begin = self.facts.begin
        return ids if ids[: len(begin)] == begin else [*begin, *ids]

    async def encode_text(self, text: str) -> list[int]:
        """See ``Model``."""
        return [*self.facts.bos, *await self._ids([text])]

    def ask(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        top: int | None,
    ) -> Told:
        """See ``Model``. Log-probabilities are those at temperature 1."""
        rooms = [room_for_reply(prompt, self.context) for prompt in prompts]
        coming = len(prompts) * len(seeds)
        if self._closed or self.load().waiting + coming > self._most_waiting:
            raise QueueFull
        asked = [
            {
                "prompt": list(prompt),
                "n_predict": min(sampling.max_new_tokens, room),
                "seed": seed % SEEDS,
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                # Of its many ways to cut a distribution these two, in the order they have here.
                "samplers": ["temperature", "top_p"],
                "stop": list(sampling.stop),
                "n_probs": 0 if top is None else max(1, top),
                "return_tokens": True,
                "stream": True,
            }
            for prompt, room in zip(prompts, rooms, strict=True)
            for seed in seeds
        ]
        return Told(self, asked, len(seeds), top or 0)

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that ``close`` waits for."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self, now: bool = False) -> None:
        """See ``Model``."""
        self._closed = True
        if now:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.client.aclose()
        await asyncio.to_thread(self.process.close)

    async def _ids(self, content: list[str | int]) -> list[int]:
        """Ids of texts, in which nothing is a control token, and ids between them."""
        told = await self._post(
            "/tokenize", content=content, add_special=False, parse_special=False
        )
        return [int(token) for token in told["tokens"]]

    async def _post(self, route: str, **asked: Any) -> Any:
        try:
            answer = await self.client.post(route, json=asked)
            if answer.status_code == 400:  # the chat template refuses these messages
                raise InputError(f"llama.cpp: {answer.json()['error']['message']}")
            return answer.raise_for_status().json()
        except _FAULTS as error:
            raise _failed(error) from error


class Told:
    """Replies of llama.cpp's server, a request for each, see ``engine.Replies``.

    Of a token that is part of a character it tells nothing until the character is whole: such a
    one is counted with the next, and has no log-probability. ``each`` are of one prompt after the
    other; ``top``: see ``Llama.ask``.
    """

    def __init__(self, llama: Llama, asked: Sequence[dict[str, Any]], each: int, top: int) -> None:
        self.count, self.known = len(asked), 0
        self._llama, self._each, self._top = llama, each, top
        self._came: asyncio.Queue[Piece | DecodingError] = asyncio.Queue()
        self._tasks = [llama.start(self._follow(*one)) for one in enumerate(asked)]

    async def __aiter__(self) -> AsyncIterator[list[Piece]]:
        """See ``Replies``."""
        going = self.count
        while going:
            came = [await self._came.get()]
            while not self._came.empty():
                came.append(self._came.get_nowait())
            pieces = []
            for one in came:
                if isinstance(one, DecodingError):
                    raise one
                pieces.append(one)
            going -= sum(piece.finish is not None for piece in pieces)
            yield pieces

    def close(self) -> None:
        """Give up what has not ended: a connection that is closed ends the reply there too."""
        for task in self._tasks:
            task.cancel()

    async def _follow(self, choice: int, asked: dict[str, Any]) -> None:
        llama, seen = self._llama, 0
        async with llama.places:
            llama.running += 1
            try:
                async with llama.client.stream("POST", "/completion", json=asked) as response:
                    response.raise_for_status()
                    async for event in events(response):
                        self._came.put_nowait(self._piece(choice, event, seen))
                        if event["stop"]:
                            return
                        seen = event["tokens_predicted"]
                raise ValueError("it ended too early")
            except (*_FAULTS, DecodingError) as error:
                self._came.put_nowait(_failed(error))
            finally:
                llama.running -= 1

    def _piece(self, choice: int, event: dict[str, Any], seen: int) -> Piece:
        worth = None
        for one in event.get("completion_probabilities", []):
            if one["bytes"]:  # the token that ends a reply has none
                top = [(_text(other), other["logprob"]) for other in one["top_logprobs"]]
                worth = Worth(_text(one), one["logprob"], top[: self._top])
        count = event["tokens_predicted"] - seen
        if not event["stop"]:
            return Piece(choice, event["content"], count, worth)
        if choice % self._each == 0:  # of replies to the same prompt all but one find it
            self.known += event["timings"]["cache_n"]
        finish: Finish = "length" if event["stop_type"] == "limit" else "stop"
        return Piece(choice, event["content"], count, finish=finish)


async def opened(path: Path, ref: str, limits: BatchLimits) -> Llama:
    """Load a GGUF file, with as many replies at once as ``limits`` have room for.

    Raises:
        CorruptError: it is no whole GGUF file.
        InputError: its chat template does more than it may (S-05), or llama.cpp refuses it.
    """
    facts = await asyncio.to_thread(read_facts, path)
    if facts.template:
        reason = await asyncio.to_thread(vet, facts.template, tuple(sorted(facts.named.items())))
        if reason:
            raise InputError(Problem(str(path), None, "tokenizer.chat_template", reason))
    identity = await asyncio.to_thread(manifest.content_fingerprint, path)
    cells = max(1, limits.cache_mib * MIB // facts.cell)
    context = min(facts.context, cells)
    rows = min(limits.rows, cells // context)
    threads = torch.get_num_threads()
    process = await asyncio.to_thread(RuntimeProcess, "gguf", path, context, threads, rows)
    return Llama(ref, identity[:16], facts, process, context, rows, limits.waiting)


def _text(token: dict[str, Any]) -> str:
    """Of half a character, which has no text of its own, what a decoder says."""
    return bytes(token["bytes"]).decode("utf-8", "replace")


def _failed(error: Exception) -> DecodingError:
    """What a client is told: nothing of what it was; that is logged."""
    log.error("llama.cpp: %s: %s", type(error).__name__, error)
    return DecodingError("the model failed while it replied")
