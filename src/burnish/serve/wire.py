"""Answers as OpenAI's API words them: whole ones and pieces of them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from burnish.serve.engine import Piece, Replies, Worth


@dataclass
class Choice:
    """One reply as it grows: its text so far and what its tokens were worth."""

    worths: list[tuple[Worth, int]] = field(default_factory=list)
    text: str = ""
    finish: str | None = None


class Dialect(Protocol):
    """How one of the two kinds of completion is worded."""

    path: str
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

    def said(self, choice: dict[str, Any]) -> str | None:
        """The text of a choice, or of a piece of one, that is so worded; None where it has none."""
        ...

    def worth(self, tokens: Sequence[tuple[Worth, int]]) -> Any:
        """Log-probabilities of tokens, each with where its text begins."""
        ...


class Chat:
    """``/v1/chat/completions``."""

    path = "/chat/completions"
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

    def said(self, choice: dict[str, Any]) -> str | None:
        message = choice["delta"] if "delta" in choice else choice["message"]
        text: str | None = message.get("content")
        return text

    def worth(self, tokens: Sequence[tuple[Worth, int]]) -> dict[str, Any]:
        content = [
            {
                **_entry(token.text, token.logprob),
                "top_logprobs": [_entry(*one) for one in token.top],
            }
            for token, _ in tokens
        ]
        return {"content": content, "refusal": None}


class Text:
    """``/v1/completions``."""

    path = "/completions"
    prefix = "cmpl-"
    whole_object = piece_object = "text_completion"

    def opening(self) -> None:
        return None

    def piece(self, text: str, logprobs: Any | None) -> dict[str, Any]:
        return {"text": text, "logprobs": logprobs}

    whole = piece

    def said(self, choice: dict[str, Any]) -> str | None:
        text: str | None = choice["text"]
        return text

    def worth(self, tokens: Sequence[tuple[Worth, int]]) -> dict[str, Any]:
        return {
            "tokens": [token.text for token, _ in tokens],
            "token_logprobs": [token.logprob for token, _ in tokens],
            "top_logprobs": [dict(token.top) for token, _ in tokens],
            "text_offset": [offset for _, offset in tokens],
        }


class Head:
    """What an answer and every event of it begin with.

    ``model`` is the name asked for, ``fingerprint`` that of the weights, where it is known.
    """

    def __init__(self, dialect: Dialect, model: str, fingerprint: str | None) -> None:
        self.dialect = dialect
        self.key = dialect.prefix + secrets.token_hex(12)
        self._rest = {"created": int(time.time()), "model": model,
                      "system_fingerprint": fingerprint}  # fmt: skip
        # Every token has an event, so what they share is worded once.
        self._opening = f"data: {_json(self._of(dialect.piece_object))[:-1]}, "

    def event(self, choices: Sequence[dict[str, Any]], **more: Any) -> str:
        """A server-sent event."""
        return f"{self._opening}{_json({'choices': choices, **more})[1:]}\n\n"

    def whole(self, choices: Sequence[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request without a stream."""
        return {**self._of(self.dialect.whole_object), "choices": choices, "usage": usage}

    def _of(self, kind: str) -> dict[str, Any]:
        return {"id": self.key, "object": kind, **self._rest}


class Growing(Protocol):
    """An answer under way; iterate over it once, and ``close`` it in any case.

    ``ref`` names the weights. ``drawn`` counts tokens so far.
    """

    head: Head
    ref: str

    @property
    def drawn(self) -> int: ...

    def openings(self) -> list[dict[str, Any]]:
        """What a stream begins with, choice by choice."""
        ...

    def __aiter__(self) -> AsyncIterator[list[dict[str, Any]]]:
        """What a stream says of the choices, as it comes.

        Raises:
            DecodingError: the model failed.
        """
        ...

    def choices(self) -> list[dict[str, Any]]:
        """All whole choices, once it has ended."""
        ...

    def texts(self) -> list[str]:
        """The choices' texts so far."""
        ...

    def usage(self) -> dict[str, Any]:
        """Tokens: of the prompts, and all that were drawn, end tokens too."""
        ...

    def close(self) -> None:
        """Give up what has not ended."""
        ...


def counted(read: int, drawn: int, known: int = 0) -> dict[str, Any]:
    """Counts of tokens. ``known``: of the prompts' tokens, those that did not have to be computed;
    said where there are some."""
    details = {"prompt_tokens_details": {"cached_tokens": known}} if known else {}
    return {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn,
            **details}  # fmt: skip


class Answer:
    """An answer made here, of the replies of a model.

    ``ref`` names its weights. ``read``: tokens of the prompts. ``logprobs``: whether they are told.
    """

    def __init__(self, head: Head, ref: str, replies: Replies, read: int, logprobs: bool) -> None:
        self.head, self.ref = head, ref
        self.replies, self.read, self.logprobs = replies, read, logprobs
        self.drawn = 0
        self._choices = [Choice() for _ in range(replies.count)]

    async def __aiter__(self) -> AsyncIterator[list[dict[str, Any]]]:
        """Tokens that came together, together."""
        async for pieces in self.replies:
            self.drawn += sum(piece.count for piece in pieces)
            yield [said for piece in pieces if (said := self._add(piece)) is not None]

    def _add(self, piece: Piece) -> dict[str, Any] | None:
        """Take in a piece; returns what a stream says of it, None where that is nothing yet."""
        dialect, choice = self.head.dialect, self._choices[piece.choice]
        told = [] if piece.worth is None else [(piece.worth, len(choice.text))]
        choice.worths += told
        choice.text += piece.text
        choice.finish = piece.finish
        if not (piece.text or told or piece.finish):
            return None
        return {
            "index": piece.choice,
            **dialect.piece(piece.text, dialect.worth(told) if told else None),
            "finish_reason": piece.finish,
        }

    def openings(self) -> list[dict[str, Any]]:
        """What a stream begins with."""
        opening = self.head.dialect.opening()
        return [
            {"index": index, **opening, "logprobs": None, "finish_reason": None}
            for index in range(len(self._choices))
            if opening is not None
        ]

    def choices(self) -> list[dict[str, Any]]:
        """All whole choices."""
        dialect = self.head.dialect
        return [
            {
                "index": index,
                **dialect.whole(
                    choice.text, dialect.worth(choice.worths) if self.logprobs else None
                ),
                "finish_reason": choice.finish,
            }
            for index, choice in enumerate(self._choices)
        ]

    def texts(self) -> list[str]:
        """The choices' texts."""
        return [choice.text for choice in self._choices]

    def usage(self) -> dict[str, Any]:
        """Tokens read and drawn."""
        return counted(self.read, self.drawn, self.replies.known)

    def close(self) -> None:
        """Give up what has not ended."""
        self.replies.close()


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _entry(text: str, logprob: float) -> dict[str, Any]:
    # Half a character has no text of its own, and its bytes are not known here.
    whole = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": logprob, "bytes": whole}
