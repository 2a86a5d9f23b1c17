"""A request put to the model that a user got, here or on another server."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from burnish.records import Message
from burnish.sampling import Sampling
from burnish.serve.arms import Arm
from burnish.serve.engine import DecodingError, Model
from burnish.serve.protocol import Asked, ChatRequest
from burnish.serve.upstream import Upstream
from burnish.serve.wire import Answer, Dialect, Growing, Head

SEED_BITS = 48


async def ask(
    arm: Arm, dialect: Dialect, body: Asked, messages: Sequence[Message] | None
) -> Growing:
    """The answer to a request, begun; ``messages`` are those of a conversation.

    Raises:
        DecodingError: a prompt has tokens that the model has not, or its own server failed.
        InputError: a prompt is empty or too long, or the template does not take it.
        QueueFull: too many wait.
    """
    while True:
        model = arm.engine
        if isinstance(model, Upstream):
            return await model.ask(dialect, body, messages)
        prompts = await _prompts(model, body, messages)
        if model is arm.engine:  # no other weights came in the meantime
            return _begun(model, dialect, body, prompts)


def _begun(model: Model, dialect: Dialect, body: Asked, prompts: list[list[int]]) -> Answer:
    first = body.seed if body.seed is not None else secrets.randbits(SEED_BITS)
    sampling = Sampling(
        temperature=body.temperature,
        top_p=body.top_p,
        max_new_tokens=body.limit,
        stop=body.stops,
    )
    replies = model.ask(prompts, sampling, range(first, first + body.n), body.top)
    head = Head(dialect, body.model, model.identity)
    read = sum(len(prompt) for prompt in prompts)
    return Answer(head, model.ref, replies, read, body.top is not None)


async def _prompts(
    model: Model, body: Asked, messages: Sequence[Message] | None
) -> list[list[int]]:
    if isinstance(body, ChatRequest):
        return [await model.encode_chat(messages or ())]
    return [await _tokens(model, prompt) for prompt in body.prompts]


async def _tokens(model: Model, prompt: str | list[int]) -> list[int]:
    if isinstance(prompt, str):
        return await model.encode_text(prompt)
    if max(prompt, default=0) >= model.size:
        said = f"found token {max(prompt)}; the model has {model.size}"
        raise DecodingError(said, 400, "prompt")
    return prompt
