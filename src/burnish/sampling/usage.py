"""How many tokens were sampled, counted where they are: here, and by each served model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

BYTES_A_TOKEN = 4
"""Where a server does not say how many tokens it counted."""


@dataclass
class Usage:
    """``sampled``: tokens drawn in this process; ``proposed``: those of which a draft model said
    them first, and ``accepted`` how many of its proposals stayed; ``served``: by model, the tokens
    of the prompts it was sent and of the replies that came."""

    sampled: int = 0
    proposed: int = 0
    accepted: int = 0
    served: dict[str, tuple[int, int]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def reply(self, model: str, prompt: int, reply: int) -> None:
        """Count one reply of a served model; safe from several threads."""
        with self._lock:
            before = self.served.get(model, (0, 0))
            self.served[model] = (before[0] + prompt, before[1] + reply)


_current: ContextVar[Usage | None] = ContextVar("usage", default=None)


@contextmanager
def counted() -> Iterator[Usage]:
    """Count what is sampled inside the block, in this thread and what it asks of servers."""
    mark = _current.set(usage := Usage())
    try:
        yield usage
    finally:
        _current.reset(mark)


def current() -> Usage:
    """The count of the innermost ``counted`` block; outside of any, one that nobody reads."""
    return _current.get() or Usage()


def tokens_of(answer: Any, prompt: str, reply: str) -> tuple[int, int]:
    """Tokens of a prompt and its reply as the server's answer says, else by their bytes."""
    said = answer.get("usage") if isinstance(answer, Mapping) else None
    said = said if isinstance(said, Mapping) else {}
    texts = {"prompt_tokens": prompt, "completion_tokens": reply}
    counts = []
    for name, text in texts.items():
        count = said.get(name)
        if type(count) is not int or count < 0:
            count = -(-len(text.encode()) // BYTES_A_TOKEN)
        counts.append(count)
    return counts[0], counts[1]
