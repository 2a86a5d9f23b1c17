"""From a request to its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from burnish.config import InputError
from burnish.records import Message
from burnish.routing.evidence import text_of
from burnish.sampling import QueueFull
from burnish.serve.arms import Arm, Arms
from burnish.serve.asking import ask
from burnish.serve.engine import DecodingError
from burnish.serve.feedback import Book, content_of, key_of
from burnish.serve.meters import Meters
from burnish.serve.protocol import Asked, ChatRequest, CompletionRequest, FeedbackRequest
from burnish.serve.remembered import Answered, Recent
from burnish.serve.security import error_body
from burnish.serve.settings import ServeSettings
from burnish.serve.wire import Chat, Dialect, Growing, Text

log = logging.getLogger(__name__)

RETRY_SECONDS = 1
GONE = 499
"""What servers call a request whose client went away."""
R = TypeVar("R")


class ApiError(Exception):
    """A request that cannot be answered, with the status that says so."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def response(self) -> Response:
        """As OpenAI's API words it."""
        body = error_body(self.status, self.message, param=self.param, code=self.code)
        retry = {"retry-after": str(RETRY_SECONDS)} if self.status in (429, 503) else None
        return JSONResponse(body, self.status, headers=retry)


class Service:
    """The models, and what is to be known of those who ask them."""

    def __init__(self, arms: Arms, settings: ServeSettings, book: Book) -> None:
        self.arms, self.settings, self.book = arms, settings, book
        self.recent = Recent(settings.remembered)
        self.meters = Meters(arms)
        self.draining = False

    async def chat(self, body: ChatRequest, request: Request) -> Response:
        """Answer a conversation."""
        messages = [turn.message() for turn in body.messages]
        arm = await self._arm(body, text_of(messages))
        return await _UnderWay(self, arm, Chat(), body, messages).respond(request)

    async def complete(self, body: CompletionRequest, request: Request) -> Response:
        """Let texts go on."""
        # A router reads words: prompts of token numbers go where one without words would.
        text = "\n".join(prompt for prompt in body.prompts if isinstance(prompt, str))
        arm = await self._arm(body, text)
        return await _UnderWay(self, arm, Text(), body, None).respond(request)

    async def feedback(self, said: FeedbackRequest, request: Request) -> Response:
        """Keep what a person says about a reply, once."""
        answered = self.recent.find(said.id)
        if answered is None and self.settings.keep:
            answered = await asyncio.wrap_future(self.book.find(said.id))
        if answered is None:
            raise ApiError(404, "no chat reply of this id is remembered", "id", "not_found")
        if said.choice >= len(answered.replies):
            raise ApiError(404, f"this request has {len(answered.replies)} replies", "choice")
        key = key_of(said, answered, request.headers.get("idempotency-key"))
        content = content_of(said, answered)
        stored = await asyncio.wrap_future(self.book.add(key, answered.ref, content))
        if stored:
            self.meters.feedback.labels(answered.arm, content["kind"]).inc()
        return JSONResponse({"object": "feedback", "id": said.id, "stored": stored})

    def remember(self, key: str, answered: Answered) -> None:
        """Keep what feedback may be given on; that it cannot be written spoils no answer."""
        self.recent.remember(key, answered)
        if self.settings.keep:
            kept = self.book.keep(key, answered, self.settings.remembered)
            kept.add_done_callback(_log_failure)

    def models(self) -> list[dict[str, Any]]:
        """What can be asked for, as ``/v1/models`` lists it."""
        arms = {arm.name: arm.engine.ref for arm in self.arms.all}
        return [
            {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "burnish",
                "root": arms.get(name, name),
            }
            for name in self.arms.names()
        ]

    async def close(self, now: bool) -> None:
        """Wait until all that runs has ended, or end it ``now``; then finish writing."""
        await self.arms.close(now)
        await asyncio.to_thread(self.book.close)

    async def _arm(self, body: Asked, text: str) -> Arm:
        if self.draining:
            raise ApiError(503, "this server is being stopped")
        if body.n > self.settings.choices:
            raise ApiError(400, f"found {body.n}; at most {self.settings.choices}", "n")
        arm = self.arms.choose(await self.arms.routed(body.model, text), body.user)
        if arm is None:
            known = ", ".join(self.arms.names())
            raise ApiError(404, f"no model is called {body.model!r}; there are: {known}", "model",
                           "model_not_found")  # fmt: skip
        return arm


class _UnderWay:
    """One request, from its queueing to its end; ``messages`` are those of a conversation."""

    def __init__(
        self, service: Service, arm: Arm, dialect: Dialect, body: Asked,
        messages: list[Message] | None,
    ) -> None:  # fmt: skip
        self.service, self.arm, self.dialect, self.body = service, arm, dialect, body
        self.messages = messages
        self.began = time.monotonic()
        self.until = asyncio.get_running_loop().time() + service.settings.seconds
        self.answer: Growing | None = None
        self.counted = False

    async def respond(self, request: Request) -> Response:
        """The answer, whole or as a stream."""
        try:
            async with asyncio.timeout_at(self.until):
                return await self._response(request)
        except BaseException as error:
            self._ended(_status_of(error))
            if isinstance(error, TimeoutError):
                seconds = self.service.settings.seconds
                raise ApiError(504, f"no answer within {seconds:g} s") from None
            raise

    async def _response(self, request: Request) -> Response:
        answer, whole = await unless_gone(request, self._begin()), None
        headers = {"x-burnish-arm": self.arm.name}
        if answer is not None:
            headers["x-burnish-model"] = answer.ref
            if self.body.stream:
                events = self._events(answer)
                return _Stream(events, self._ended, media_type="text/event-stream", headers=headers)
            whole = await unless_gone(request, self._whole(answer))
        self._ended(GONE if whole is None else 200)
        return Response(status_code=GONE) if whole is None else JSONResponse(whole, headers=headers)

    async def _begin(self) -> Growing:
        # Kept here as well: when time is over just now, nobody takes what this returns.
        self.answer = await ask(self.arm, self.dialect, self.body, self.messages)
        return self.answer

    async def _whole(self, answer: Growing) -> dict[str, Any]:
        async for _ in self._grown(answer):
            continue
        return answer.head.whole(answer.choices(), answer.usage())

    async def _events(self, answer: Growing) -> AsyncIterator[str]:
        """Server-sent events. Once they began, an error can only be one of them."""
        options = self.body.stream_options
        more: dict[str, Any] = {"usage": None} if options and options.include_usage else {}
        event = answer.head.event
        status = GONE
        try:
            for opening in answer.openings():
                yield event([opening], **more)
            async for said in self._grown(answer):
                for choice in said:
                    yield event([choice], **more)
            if more:
                yield event([], usage=answer.usage())
            yield "data: [DONE]\n\n"
            status = 200
        except (DecodingError, TimeoutError) as error:
            status = _status_of(error)
            told = "no answer in time" if isinstance(error, TimeoutError) else str(error)
            yield f"data: {json.dumps(error_body(status, told))}\n\n"
        finally:
            self._ended(status)

    async def _grown(self, answer: Growing) -> AsyncIterator[list[dict[str, Any]]]:
        meters, name = self.service.meters, self.arm.name
        first = True
        async with asyncio.timeout_at(self.until):
            async for said in answer:
                if first and answer.drawn:
                    meters.first.labels(name).observe(time.monotonic() - self.began)
                    first = False
                yield said
        meters.whole.labels(name).observe(time.monotonic() - self.began)
        if self.messages is not None:
            answered = Answered(self.messages, answer.texts(), name, answer.ref, self.body.user)
            self.service.remember(answer.head.key, answered)

    def _ended(self, status: int = GONE) -> None:
        """Give up what still runs, and count the request and its tokens, once."""
        answer = self.answer
        if answer is not None:
            answer.close()
        if not self.counted:
            self.counted = True
            meters, name = self.service.meters, self.arm.name
            meters.requests.labels(name, self.dialect.whole_object, str(status)).inc()
            if answer is not None and answer.drawn:
                usage = answer.usage()
                meters.tokens.labels(name, "read").inc(usage["prompt_tokens"])
                meters.tokens.labels(name, "drawn").inc(usage["completion_tokens"])
                known = usage.get("prompt_tokens_details", {}).get("cached_tokens", 0)
                meters.tokens.labels(name, "cached").inc(known)


class _Stream(StreamingResponse):
    """A stream that is ended whatever happens, even if its client went before it began."""

    def __init__(self, events: AsyncIterator[str], ended: Callable[[], None], **more: Any) -> None:
        super().__init__(events, **more)
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()


def _log_failure(done: Future[None]) -> None:
    error = done.exception()
    if error is not None:
        log.error("what was answered is not kept: %s", error)


def _status_of(error: BaseException) -> int:
    """The status of a request that ended so."""
    if isinstance(error, DecodingError):
        return error.status
    kinds = {TimeoutError: 504, QueueFull: 429, InputError: 400, asyncio.CancelledError: GONE}
    return next((status for kind, status in kinds.items() if isinstance(error, kind)), 500)


async def unless_gone(request: Request, work: Awaitable[R]) -> R | None:
    """What ``work`` gives, or None when the client went away, which ends the work."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
