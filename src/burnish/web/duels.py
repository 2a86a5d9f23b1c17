"""Two models asked the same, in an order that nobody is told before the vote."""

from __future__ import annotations

import json
import random
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass, field
from typing import Literal

from burnish.serve.service import Service
from burnish.web.contenders import Contender

MOST_OPEN = 256
Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


@dataclass
class Duel:
    """A prompt and the models on the left and on the right; ``replies`` by side as they end."""

    prompt: str
    models: tuple[Contender, Contender]
    replies: dict[Side, str] = field(default_factory=dict)

    def model(self, side: Side) -> Contender:
        """The model on a side."""
        return self.models[SIDES.index(side)]

    async def blind(
        self, side: Side, service: Service, told: AsyncIterable[str | bytes | memoryview]
    ) -> AsyncIterator[str]:
        """The text of a stream of chat events, without anything that tells which model it is.

        The reply is kept when the stream has come to its end.
        """
        key = ""
        async for event in told:
            assert isinstance(event, str)
            data = event.removeprefix("data: ").strip()
            if data == "[DONE]":
                answered = service.recent.find(key)
                if answered is not None:
                    self.replies[side] = answered.replies[0]
                yield event
                continue
            row = json.loads(data)
            key = row.get("id", key)
            if "error" in row:
                yield _event({"error": row["error"]})
            for choice in row.get("choices", ()):
                text = choice["delta"].get("content")
                if text:
                    yield _event({"text": text})


class Duels:
    """The last duels by id, in memory: what was not voted on is forgotten."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Duel] = OrderedDict()
        self._order = random.SystemRandom()

    def begin(self, prompt: str, first: Contender, second: Contender) -> str:
        """A new duel in an order by chance; returns its id."""
        models = [first, second]
        self._order.shuffle(models)
        key = secrets.token_hex(12)
        self._open[key] = Duel(prompt, (models[0], models[1]))
        while len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)
        return key

    def find(self, key: str) -> Duel | None:
        """The duel of this id."""
        return self._open.get(key)


def _event(value: dict[str, object]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
