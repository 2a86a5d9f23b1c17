"""A model on another OpenAI-compatible server, asked in the name of this one's users.

What it says is passed on as it comes. Of its errors only the kind is told: their texts may hold
what is nobody's business, such as keys and addresses.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx2

from burnish.config import InputError
from burnish.records import Message
from burnish.sampling import BatchLimits, EndpointError, EndpointSettings, QueueFull, ServedSampler
from burnish.sampling.address import api_key, async_transport, parse
from burnish.sampling.endpoint import LARGEST_REPLY
from burnish.serve.engine import DecodingError, Load
from burnish.serve.protocol import Asked
from burnish.serve.wire import Dialect, Head, counted

log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
ATTEMPTS = 3
PAUSE = 0.25
"""Seconds before the second attempt, and twice as many before the third."""
PASSING = frozenset({502, 503, 504})
"""Statuses after which the same request may well be answered."""
REFUSED = frozenset({400, 413, 422})
"""Statuses that a client's request is the reason of."""
LARGEST_ERROR = 2**16
OURS = {"user", "stream_options", "logit_bias", "response_format"}
"""Fields that are not passed on: who asks is nobody else's business, the others say nothing."""
_WORD = re.compile(r"[a-z]+(_[a-z]+)*")


class _Passing(Exception):
    """A failure that another attempt may not have; ``told`` is what to say of it in the end."""

    def __init__(self, told: DecodingError) -> None:
        super().__init__(str(told))
        self.told = told


class Upstream:
    """A model behind an address such as ``http://host:8000/v1#model``; use it from one event loop.

    Args:
        address: see ``sampling.address.parse``; its API key is found there too.
        limits: as many replies as run and wait in a model of this server are asked for at a time.

    Raises:
        InputError: not such an address, or the API keys are malformed.
    """

    alive = True  # as far as this server can know

    def __init__(self, address: str, limits: BatchLimits) -> None:
        self.address = parse(address)
        self.ref = self.address.model
        self.most = limits.rows + limits.waiting
        self._asked = address
        self._key = api_key(self.address)
        self._under_way = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._client = httpx2.AsyncClient(
            headers={"authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
            limits=httpx2.Limits(max_connections=self.most),
            follow_redirects=False,
            transport=async_transport(self.address, self.most),
        )

    async def look(self) -> None:
        """Warn where nobody answers there now; it may come later."""
        once = ServedSampler(self._asked, EndpointSettings(attempts=1, timeout=CONNECT_SECONDS))
        try:
            if await asyncio.to_thread(once.listed) is None:
                log.warning("%s does not list %s", self.address.url, self.ref)
        except EndpointError as error:
            log.warning("%s", error)

    def load(self) -> Load:
        """Replies asked for there; how many of them wait is not known."""
        return Load(self._under_way)

    async def ask(
        self, dialect: Dialect, body: Asked, messages: Sequence[Message] | None
    ) -> Relayed:
        """The answer to a request, once its first byte is there; till then failures are tried
        again.

        Raises:
            DecodingError: it is refused, or the server cannot answer.
            QueueFull: too many are under way.
        """
        if self._under_way + body.replies > self.most:
            raise QueueFull
        self._under_way += body.replies
        answer = Relayed(self, dialect, body)
        url = self.address.url + dialect.path
        sent = self._sent(body, messages)
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await answer.begin(self._client.build_request("POST", url, json=sent))
                    return answer
                except _Passing as failure:
                    if attempt == ATTEMPTS:
                        raise failure.told from failure
                await asyncio.sleep(PAUSE * 2 ** (attempt - 1))
            raise AssertionError("ATTEMPTS is at least 1")
        except BaseException:
            answer.close()
            raise

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """A response with status 200, not read yet.

        Raises:
            _Passing, DecodingError: there is none.
        """
        try:
            response = await self._client.send(request, stream=True)
            if response.status_code == 200:
                return response
            try:
                said = await _start(response)
            finally:
                await response.aclose()
        except httpx2.RequestError as error:
            raise _Passing(self._broken(type(error).__name__)) from error
        except InputError as error:  # the name leads where no model is served
            raise self._broken(str(error)) from error
        told = self._refusal(response.status_code, said)
        if response.status_code in PASSING:
            raise _Passing(told)
        raise told

    def free(self, response: httpx2.Response | None, replies: int) -> None:
        """Give back the place of so many replies, and the connection."""
        self._under_way -= replies
        if response is not None:
            closing = asyncio.get_running_loop().create_task(response.aclose())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close(self, now: bool = False) -> None:
        """Give the connections back; whoever still waits for an answer gets none."""
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self._client.aclose()

    def _sent(self, body: Asked, messages: Sequence[Message] | None) -> dict[str, Any]:
        # Servers have other defaults than OpenAI, so those are spelled out.
        given = body.model_dump(exclude_defaults=True, exclude=OURS)
        given |= {"model": self.ref, "temperature": body.temperature, "top_p": body.top_p}
        if messages is not None:
            given["messages"] = list(messages)
        else:
            given["max_tokens"] = body.limit
        if body.stream:
            given["stream_options"] = {"include_usage": True}
        return given

    def _refusal(self, status: int, content: bytes) -> DecodingError:
        """What a client is told of a status: of its text, only words that name things."""
        log.warning("%s: status %d", self.address.url, status)
        if status in REFUSED:
            named = _names(content, self._key)
            reason = f" ({named['code']})" if named["code"] else ""
            return DecodingError(f"the model's server refused the request{reason}", 400, **named)
        if status == 429:
            return DecodingError("the model's server has too much to do", 429)
        if status in (401, 403):
            return DecodingError("the model's server does not let this one in", 502)
        if status in (408, 504):
            return DecodingError("the model's server did not answer in time", 504)
        known = 503 if status == 503 else 502
        return DecodingError("the model's server cannot answer now", known)

    def _broken(self, reason: str) -> DecodingError:
        log.warning("%s: %s", self.address.url, reason)
        return DecodingError("the model's server cannot be reached", 502)


class Relayed:
    """An answer of an upstream server under this one's name, see ``wire.Growing``."""

    def __init__(self, upstream: Upstream, dialect: Dialect, body: Asked) -> None:
        self.ref, self._upstream = upstream.ref, upstream
        self.head = Head(dialect, body.model, None)
        self._stream, self._count = body.stream, body.replies
        self._response: httpx2.Response | None = None
        self._events: AsyncIterator[dict[str, Any]]
        self._first: dict[str, Any] | None = None
        self._choices: list[dict[str, Any]] = []
        self._texts = [""] * body.replies
        self._finished: set[int] = set()
        self._told = 0
        self._usage: dict[str, int] | None = None
        self._open = True

    @property
    def drawn(self) -> int:
        """Tokens that the server counted; pieces, where it does not count."""
        return self._told if self._usage is None else self._usage["completion_tokens"]

    async def begin(self, request: httpx2.Request) -> None:
        """Send the request and wait for the answer's first event, or for all of it.

        Raises:
            _Passing, DecodingError: it does not come.
        """
        self._response = response = await self._upstream.send(request)
        self._events = events(response) if self._stream else _one(response)
        try:
            self._first = await anext(self._events, None)
        except httpx2.RequestError as error:
            await response.aclose()
            raise _Passing(_early()) from error

    def openings(self) -> list[dict[str, Any]]:
        """Nothing: the server has its own."""
        return []

    async def __aiter__(self) -> AsyncIterator[list[dict[str, Any]]]:
        """What the server says, event by event."""
        try:
            if self._first is not None:
                yield self._taken(self._first)
                async for event in self._events:
                    yield self._taken(event)
        except httpx2.RequestError as error:
            raise _early() from error
        if len(self._finished) < self._count:
            raise _early()

    def _taken(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """The choices of an event, looked at."""
        try:
            if event.get("error"):
                raise DecodingError("the model's server failed while it replied", 502)
            if event.get("usage"):
                read, drawn = (int(event["usage"][f"{kind}_tokens"])
                               for kind in ("prompt", "completion"))  # fmt: skip
                self._usage = counted(read, drawn)
            choices: list[dict[str, Any]] = list(event["choices"])
            for choice in choices:
                self._take(choice)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise _unreadable() from None
        if not self._stream:
            self._choices = choices
        return choices

    def _take(self, choice: dict[str, Any]) -> None:
        index, text = choice.setdefault("index", 0), self.head.dialect.said(choice) or ""
        if index not in range(self._count):
            raise ValueError(index)
        self._texts[index] += text
        self._told += bool(text)
        if choice.get("finish_reason") is not None:
            self._finished.add(index)

    def choices(self) -> list[dict[str, Any]]:
        """As the server worded them."""
        return self._choices

    def texts(self) -> list[str]:
        """The choices' texts."""
        return self._texts

    def usage(self) -> dict[str, int]:
        """As the server counted; without its count, pieces of text."""
        return counted(0, self.drawn) if self._usage is None else self._usage

    def close(self) -> None:
        """Let the connection go, once."""
        if self._open:
            self._open = False
            self._upstream.free(self._response, self._count)


async def events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON of server-sent events, up to ``[DONE]``.

    Raises:
        DecodingError: one is no JSON object, or there is too much.
    """
    kept, size = b"", 0
    async for piece in response.aiter_bytes():
        size += len(piece)
        if size > LARGEST_REPLY:
            raise _unreadable()
        *lines, kept = (kept + piece).split(b"\n")
        for line in lines:
            field, _, data = line.partition(b":")
            if field != b"data":
                continue
            if data.strip() == b"[DONE]":
                return
            yield _object(data)


async def _one(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """The JSON of a whole answer."""
    yield _object(await _start(response, LARGEST_REPLY))


async def _start(response: httpx2.Response, most: int = LARGEST_ERROR) -> bytes:
    """The body up to ``most`` bytes or a little more."""
    content = b""
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > most:
            break
    return content


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _unreadable()
    return found


def _names(content: bytes, key: str | None) -> Mapping[str, str | None]:
    """The ``param`` and ``code`` of an error, where they are plain words."""
    try:
        error = json.loads(content)["error"]
        found = {name: error.get(name) for name in ("param", "code")}
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError):
        found = {}
    return {
        name: word
        if isinstance(word := found.get(name), str) and _WORD.fullmatch(word) and word != key
        else None
        for name in ("param", "code")
    }


def _early() -> DecodingError:
    return DecodingError("the model's server ended its answer too early", 502)


def _unreadable() -> DecodingError:
    return DecodingError("the model's server gave an answer that cannot be read", 502)
