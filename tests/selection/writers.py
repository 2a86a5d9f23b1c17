"""A writer whose replies are given, for tests of what is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from burnish.records import Document, Example, Prompt
from burnish.sampling import Completion, Request, Sampling
from burnish.sampling.sampler import Progress
from burnish.sampling.settings import Sampling as Settings


@dataclass
class Scripted:
    """Replies with what ``say`` makes of each request, and keeps the requests."""

    say: Callable[[Request], str]
    finish: str = "stop"
    asked: list[Request] = field(default_factory=list)
    drawn: list[Settings] = field(default_factory=list)

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        self.asked += requests
        self.drawn.append(sampling)
        return [Completion([], [], self.say(one), self.finish) for one in requests]  # type: ignore[arg-type]


def saying(**texts: str) -> Scripted:
    """A writer that always replies with one JSON object."""
    return Scripted(lambda request: json.dumps(texts, ensure_ascii=False))


def numbered(form: str = "{n} alpha{n} beta{n} gamma{n} delta{n}") -> Scripted:
    """A writer that never repeats itself."""
    numbers = count()
    return Scripted(lambda request: json.dumps({"instruction": form.format(n=next(numbers))}))


def prompt(text: str, name: str = "p1", **fields: Any) -> Prompt:
    return Prompt(id=name, messages=[{"role": "user", "content": text}], **fields)


def pair(text: str, reply: str, name: str = "e1", **fields: Any) -> Example:
    turns = [{"role": "user", "content": text}, {"role": "assistant", "content": reply}]
    return Example(id=name, messages=turns, **fields)  # type: ignore[arg-type]


def document(text: str, name: str = "d1", **fields: Any) -> Document:
    return Document(id=name, text=text, source="library", **fields)
