"""Answers as OpenAI's API words them: whole ones and pieces of them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from burnish.sampling import Completion
from burnish.serve.engine import Engine, Piece


@dataclass
class Choice:
    """One reply as it grows: its text so far and what its tokens were worth."""

    logprobs: list[Any] = field(default_factory=list)
    text: str = ""
    done: Completion | None = None


class Dialect(Protocol):
    """How one of the two kinds of completion is worded."""

    prefix: str
    whole_object: str
    piece_object: str

    def opening(self) -> dict[str, Any] | None:
        """What a stream says of a choice before its first token."""
        ...

    def piece(self, text: str, logprobs: Any | None) -> dict[str, Any]:
        """A piece of a choice."""
        ...

    def whole(self, text: str, logprobs: Any | None) -> dict[str, Any]:
        """A whole choice."""
        ...

    def worth(self, engine: Engine, pieces: Sequence[tuple[Piece, int]]) -> Any:
        """Log-probabilities of tokens, each with where its text begins."""
        ...


class Chat:
    """``/v1/chat/completions``."""

    prefix = "chatcmpl-"
    whole_object = "chat.completion"
    piece_object = "chat.completion.chunk"

    def opening(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}}

    def piece(self, text: str, logprobs: Any | None) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}, "logprobs": logprobs}

    def whole(self, text: str, logprobs: Any | None) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"message": message, "logprobs": logprobs}

    def worth(self, engine: Engine, pieces: Sequence[tuple[Piece, int]]) -> dict[str, Any]:
        content = [
            {
                **_entry(engine, piece.token, piece.logprob),
                "top_logprobs": [_entry(engine, *one) for one in piece.top],
            }
            for piece, _ in pieces
        ]
        return {"content": content, "refusal": None}


class Text:
    """``/v1/completions``."""

    prefix = "cmpl-"
    whole_object = piece_object = "text_completion"

    def opening(self) -> None:
        return None

    def piece(self, text: str, logprobs: Any | None) -> dict[str, Any]:
        return {"text": text, "logprobs": logprobs}

    whole = piece

    def worth(self, engine: Engine, pieces: Sequence[tuple[Piece, int]]) -> dict[str, Any]:
        return {
            "tokens": [_text(engine, piece.token) for piece, _ in pieces],
            "token_logprobs": [piece.logprob for piece, _ in pieces],
            "top_logprobs": [
                {_text(engine, token): logprob for token, logprob in piece.top}
                for piece, _ in pieces
            ],
            "text_offset": [offset for _, offset in pieces],
        }


@dataclass
class Answer:
    """An answer being made: its choices, and the counts of tokens."""

    dialect: Dialect
    key: str
    model: str
    engine: Engine
    prompt_tokens: int
    choices: list[Choice]
    logprobs: bool
    created: int = field(default_factory=lambda: int(time.time()))

    def add(self, piece: Piece) -> dict[str, Any] | None:
        """Take in a piece; returns what a stream says of it, None where that is nothing yet.

        The token that ends a reply has no text and no entry in its log-probabilities.
        """
        choice = self.choices[piece.choice]
        ends = piece.token in self.engine.batcher.ends
        told = [] if ends or not self.logprobs else [(piece, len(choice.text))]
        choice.logprobs += told
        choice.text += piece.text
        choice.done = piece.done
        if not (piece.text or told or piece.done):
            return None
        worth = self.dialect.worth(self.engine, told) if told else None
        return {
            "index": piece.choice,
            **self.dialect.piece(piece.text, worth),
            "finish_reason": piece.done.finish if piece.done else None,
        }

    def openings(self) -> list[dict[str, Any]]:
        """What a stream begins with."""
        opening = self.dialect.opening()
        return [
            {"index": index, **opening, "logprobs": None, "finish_reason": None}
            for index in range(len(self.choices))
            if opening is not None
        ]

    def event(self, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """One event of a stream."""
        return {**self._head(self.dialect.piece_object), "choices": choices, **more}

    def whole(self) -> dict[str, Any]:
        """The answer to a request without a stream."""
        choices = [
            {
                "index": index,
                **self.dialect.whole(
                    choice.text,
                    self.dialect.worth(self.engine, choice.logprobs) if self.logprobs else None,
                ),
                "finish_reason": choice.done.finish if choice.done else None,
            }
            for index, choice in enumerate(self.choices)
        ]
        head = self._head(self.dialect.whole_object)
        return {**head, "choices": choices, "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """Tokens: of the prompts, and all that were drawn, end tokens too."""
        drawn = sum(len(choice.done.tokens) for choice in self.choices if choice.done)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": drawn,
            "total_tokens": self.prompt_tokens + drawn,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.key,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.engine.identity,
        }


def _entry(engine: Engine, token: int, logprob: float) -> dict[str, Any]:
    text = _text(engine, token)
    # Half a character has no text of its own, and its bytes are not known here.
    whole = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": logprob, "bytes": whole}


def _text(engine: Engine, token: int) -> str:
    text: str = engine.tokenizer.decode([token])
    return text
