"""From a request to its answer."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from burnish.records import Message
from burnish.routing.evidence import text_of
from burnish.sampling import Sampling
from burnish.serve.arms import Arm, Arms
from burnish.serve.engine import DecodingError, Engine, Replies
from burnish.serve.feedback import Answered, Book, Recent, content_of, key_of
from burnish.serve.meters import Meters
from burnish.serve.protocol import ChatRequest, CompletionRequest, Drawing, FeedbackRequest
from burnish.serve.security import error_body
from burnish.serve.settings import ServeSettings
from burnish.serve.wire import Answer, Chat, Choice, Dialect, Text

log = logging.getLogger(__name__)

RETRY_SECONDS = 1
SEED_BITS = 48
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
        sampling = _sampling(body, body.limit)
        arm = await self._arm(body, text_of(messages))
        under_way = _UnderWay(self, arm, Chat(), body, messages)
        top = body.top_logprobs if body.logprobs else 0
        await under_way.ask(
            lambda engine: _one(engine.encode_chat(messages)), sampling, top, body.logprobs
        )
        return await under_way.respond(request)

    async def complete(self, body: CompletionRequest, request: Request) -> Response:
        """Let texts go on."""
        # A router reads words: prompts of token numbers go where one without words would.
        text = "\n".join(prompt for prompt in body.prompts if isinstance(prompt, str))
        under_way = _UnderWay(self, await self._arm(body, text), Text(), body, None)
        logprobs = body.logprobs is not None
        await under_way.ask(
            lambda engine: _prompts(engine, body),
            _sampling(body, body.max_tokens),
            body.logprobs or 0,
            logprobs,
        )
        return await under_way.respond(request)

    async def feedback(self, said: FeedbackRequest, request: Request) -> Response:
        """Keep what a person says about a reply, once."""
        answered = self.recent.find(said.id)
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

    async def _arm(self, body: Drawing, text: str) -> Arm:
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
    """One request, from its queueing to its end."""

    def __init__(
        self, service: Service, arm: Arm, dialect: Dialect, body: Drawing,
        messages: list[Message] | None,
    ) -> None:  # fmt: skip
        self.service, self.arm, self.dialect, self.body = service, arm, dialect, body
        self.messages = messages
        self.began = time.monotonic()
        self.replies: Replies
        self.answer: Answer

    async def ask(
        self,
        encode: Callable[[Engine], Awaitable[list[list[int]]]],
        sampling: Sampling,
        top: int,
        logprobs: bool,
    ) -> None:
        """Encode the prompts and queue the replies."""
        engine, prompts = self.arm.engine, await encode(self.arm.engine)
        while engine is not self.arm.engine:  # other weights came in the meantime
            engine, prompts = self.arm.engine, await encode(self.arm.engine)
        first = self.body.seed if self.body.seed is not None else secrets.randbits(SEED_BITS)
        seeds = range(first, first + self.body.n)
        self.replies = engine.ask(prompts, sampling, seeds, top)
        read = sum(len(prompt) for prompt in prompts)
        self.answer = Answer(
            self.dialect,
            self.dialect.prefix + secrets.token_hex(12),
            self.body.model,
            engine,
            read,
            [Choice() for _ in range(len(prompts) * self.body.n)],
            logprobs,
        )
        self.service.meters.tokens.labels(self.arm.name, "read").inc(read)

    async def respond(self, request: Request) -> Response:
        """The answer, whole or as a stream."""
        headers = {"x-burnish-arm": self.arm.name, "x-burnish-model": self.answer.engine.ref}
        if self.body.stream:
            events = self._events()
            return _Stream(events, self._ended, media_type="text/event-stream", headers=headers)
        status = 500
        try:
            whole = await unless_gone(request, self._whole())
            status = GONE if whole is None else 200
        except TimeoutError:
            status = 504
            raise ApiError(504, f"no answer within {self.service.settings.seconds:g} s") from None
        finally:
            self._ended(status)
        return Response(status_code=GONE) if whole is None else JSONResponse(whole, headers=headers)

    async def _whole(self) -> dict[str, Any]:
        async for _ in self._grown():
            continue
        return self.answer.whole()

    async def _events(self) -> AsyncIterator[str]:
        """Server-sent events. Once they began, an error can only be one of them."""
        options = self.body.stream_options
        more: dict[str, Any] = {"usage": None} if options and options.include_usage else {}
        status = GONE
        try:
            for opening in self.answer.openings():
                yield _event(self.answer.event([opening], **more))
            async for said in self._grown():
                if said is not None:
                    yield _event(self.answer.event([said], **more))
            if more:
                yield _event(self.answer.event([], usage=self.answer.usage()))
            yield "data: [DONE]\n\n"
            status = 200
        except (DecodingError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            status = 504 if late else 500
            yield _event(error_body(status, "no answer in time" if late else str(error)))
        finally:
            self._ended(status)

    async def _grown(self) -> AsyncIterator[dict[str, Any] | None]:
        meters, name = self.service.meters, self.arm.name
        count = 0
        async with asyncio.timeout(self.service.settings.seconds):
            async for piece in self.replies:
                if not count:
                    meters.first.labels(name).observe(time.monotonic() - self.began)
                count += 1
                yield self.answer.add(piece)
        meters.tokens.labels(name, "drawn").inc(count)
        meters.whole.labels(name).observe(time.monotonic() - self.began)
        if self.messages is not None:
            replies = [choice.text for choice in self.answer.choices]
            ref, user = self.answer.engine.ref, self.body.user
            answered = Answered(self.messages, replies, name, ref, user)
            self.service.recent.remember(self.answer.key, answered)

    def _ended(self, status: int = GONE) -> None:
        """Give up what still runs and count the request, once."""
        self.replies.close()
        if self.began >= 0:
            self.began = -1.0
            kind = self.dialect.whole_object
            self.service.meters.requests.labels(self.arm.name, kind, str(status)).inc()


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


async def _one(prompt: Awaitable[list[int]]) -> list[list[int]]:
    return [await prompt]


async def _prompts(engine: Engine, body: CompletionRequest) -> list[list[int]]:
    prompts = []
    size = len(engine.tokenizer)
    for prompt in body.prompts:
        ids = await engine.encode_text(prompt) if isinstance(prompt, str) else prompt
        if max(ids, default=0) >= size:
            raise ApiError(400, f"found token {max(ids)}; the model has {size}", "prompt")
        prompts.append(ids)
    return prompts


def _sampling(body: Drawing, limit: int) -> Sampling:
    return Sampling(
        temperature=body.temperature, top_p=body.top_p, max_new_tokens=limit, stop=body.stops
    )


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
