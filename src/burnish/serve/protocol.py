"""What may be asked, field by field, as OpenAI's API has it; other fields are refused by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from burnish.config import Settings
from burnish.records import Message

MOST_MESSAGES = 1024
MOST_STOPS = 8
MOST_TOKENS = 2**20
SEEDS = 2**63

Name = Annotated[str, Field(min_length=1, max_length=256)]
StopText = Annotated[str, Field(min_length=1, max_length=128)]
Token = Annotated[int, Field(ge=0, lt=2**31)]
Tokens = Annotated[list[Token], Field(min_length=1, max_length=MOST_TOKENS)]


class TextPart(Settings):
    """A part of a message; there are only texts."""

    type: Literal["text"]
    text: str


class Turn(Settings):
    """A message. ``developer`` is what newer clients call ``system``."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[TextPart], Field(min_length=1)]
    name: Name | None = None

    def message(self) -> Message:
        """As burnish has it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class StreamOptions(Settings):
    """``include_usage``: one more event at the end, with the number of tokens."""

    include_usage: bool = False


class Nothing(Settings):
    """``{}``: where OpenAI has a setting that burnish has not."""


class TextFormat(Settings):
    """The only format of replies there is."""

    type: Literal["text"]


class Drawing(Settings):
    """What both kinds of request have. Defaults are OpenAI's.

    A request with seed ``s`` gets the replies of the seeds ``s``, ``s + 1`` and so on; the same
    model gives the same replies again.
    """

    model: Name
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    n: int = Field(1, ge=1)
    seed: int | None = Field(None, ge=0, lt=SEEDS)
    stop: StopText | Annotated[list[StopText], Field(max_length=MOST_STOPS)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: Name | None = None
    presence_penalty: float = Field(0.0, ge=0, le=0)
    frequency_penalty: float = Field(0.0, ge=0, le=0)
    logit_bias: Nothing | None = None

    @property
    def stops(self) -> list[str]:
        """Stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        """``null`` means that a field was left out."""
        if not isinstance(value, dict):
            return value
        return {name: item for name, item in value.items() if item is not None}


class ChatRequest(Drawing):
    """``POST /v1/chat/completions``. Where no limit is given, a reply may fill the context."""

    messages: Annotated[list[Turn], Field(min_length=1, max_length=MOST_MESSAGES)]
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)
    response_format: TextFormat | None = None

    @property
    def limit(self) -> int:
        """Tokens that a reply may have."""
        return self.max_completion_tokens or self.max_tokens or MOST_TOKENS

    @property
    def top(self) -> int | None:
        """How many likeliest tokens are told of each one; None: no log-probabilities."""
        return self.top_logprobs if self.logprobs else None

    @property
    def replies(self) -> int:
        """How many replies are asked for."""
        return self.n


class CompletionRequest(Drawing):
    """``POST /v1/completions``: text that goes on, without a template."""

    prompt: str | Tokens | Annotated[list[str | Tokens], Field(min_length=1, max_length=128)]
    max_tokens: int = Field(16, ge=1, le=MOST_TOKENS)
    logprobs: int | None = Field(None, ge=0, le=5)

    @property
    def prompts(self) -> list[str | list[int]]:
        """All prompts, each a text or token ids."""
        prompt = self.prompt
        if isinstance(prompt, str) or isinstance(prompt[0], int):
            return [prompt]  # type: ignore[list-item]
        return list(prompt)  # type: ignore[arg-type]

    @property
    def limit(self) -> int:
        """Tokens that a reply may have."""
        return self.max_tokens

    @property
    def top(self) -> int | None:
        """How many likeliest tokens are told of each one; None: no log-probabilities."""
        return self.logprobs

    @property
    def replies(self) -> int:
        """How many replies are asked for."""
        return self.n * len(self.prompts)


Asked = ChatRequest | CompletionRequest
"""A request for replies."""


class FeedbackRequest(Settings):
    """``POST /v1/feedback``: what a person says about a reply, once for each ``key``.

    ``id`` is the reply's, ``choice`` its number. ``thumbs`` says whether it was good, ``better``
    what would have been. Without a ``key`` (or the header ``Idempotency-Key``) a user has one
    vote on a reply and can give one better answer.
    """

    id: Name
    choice: int = Field(0, ge=0, lt=2**14)
    thumbs: Literal["up", "down"] | None = None
    better: Annotated[str, Field(min_length=1, max_length=2**18)] | None = None
    comment: str = Field("", max_length=4096)
    user: Name | None = None
    key: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> FeedbackRequest:
        if (self.thumbs is None) == (self.better is None):
            raise ValueError("one of thumbs and better is needed")
        return self
