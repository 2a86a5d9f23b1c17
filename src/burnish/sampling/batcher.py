"""Requests that come at any time, decoded together: continuous batching.

Requests wait in a queue. When rows of the running batch end, those that waited longest take their
places. A request's tokens depend on its prompt, settings and seed, not on what it ran with (up to
the rounding of matrix products of another shape).
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from pydantic import NonNegativeInt, PositiveInt

from burnish.config import InputError, Settings
from burnish.sampling.cache import cell_bytes, context_length
from burnish.sampling.decoding import JOIN_EVERY, Row, Rows
from burnish.sampling.prefixes import Prefixes
from burnish.sampling.settings import Sampling
from burnish.sampling.speculative import Draft, begin
from burnish.sampling.stopping import Endings
from burnish.sampling.threads import few_threads
from burnish.text.templates import end_tokens

log = logging.getLogger(__name__)

PREFILL = 8192
"""Cells that newcomers may fill at once while no rows are going, which would wait for them."""
MIB = 2**20


class BatchLimits(Settings):
    """How much runs and waits at a time.

    ``rows`` are decoded together. Their keys and values, at the longest that replies may get, take
    at most ``cache_mib`` (and up to 0.4 of that again in room to grow). ``waiting`` requests
    queue. Requests are let in every ``join_every`` steps. Between two steps at most
    ``chunk_tokens`` of their prompts are read, padding included. What was computed of prompts and
    replies is kept for those that begin alike, in ``prefix_mib`` of their own; 0 keeps nothing.
    """

    rows: PositiveInt = 32
    cache_mib: PositiveInt = 2048
    waiting: PositiveInt = 256
    join_every: PositiveInt = JOIN_EVERY
    chunk_tokens: PositiveInt = 512
    prefix_mib: NonNegativeInt = 256


class QueueFull(Exception):
    """As many requests wait as may."""


@dataclass(frozen=True)
class Drawn:
    """One more token of ``row``, or that it was given up for ``error``. ``last``: it has ended."""

    row: Row
    token: int | None
    logprob: float = 0.0
    top: list[tuple[int, float]] = field(default_factory=list)
    last: bool = False
    error: Exception | None = None


def room_for_reply(prompt: Sequence[int], longest: int) -> int:
    """Tokens that a reply may have where it has ``longest`` together with its prompt.

    Raises:
        InputError: the prompt is empty or leaves none.
    """
    if not prompt:
        raise InputError("the prompt has no tokens")
    if len(prompt) >= longest:
        raise InputError(
            f"the prompt has {len(prompt)} tokens, which leaves no room for a reply: "
            f"prompt and reply have {longest} together"
        )
    return longest - len(prompt)


class Batcher:
    """A model, those who wait for it and those who run.

    ``submit`` and ``cancel`` may be called from any thread; ``step`` or ``run`` from one.

    Args:
        model: as for ``generate``; in eval mode.
        tokenizer: as for ``generate``.
        limits: see there.
        tell: called from the decoding thread after each step with what was drawn.
        draft: as for ``generate``; its keys and values count against the limits too.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        limits: BatchLimits,
        tell: Callable[[list[Drawn]], object],
        draft: Draft | None = None,
    ) -> None:
        self.model, self.tokenizer, self.limits, self.tell = model, tokenizer, limits, tell
        self.draft = draft
        self.context = context_length(model)
        each = cell_bytes(model) + (cell_bytes(draft.model) if draft else 0)
        self.spare = draft.ahead if draft else 0  # cells of proposals that may be refused
        self.cells = limits.cache_mib * MIB // each
        self.prefixes = Prefixes(model, limits.prefix_mib * MIB // cell_bytes(model))
        self.proposed = self.accepted = 0
        self.ends = frozenset(end_tokens(tokenizer))
        self._lock = threading.Condition()
        self._waiting: deque[Row] = deque()
        self._cancelled: dict[int, Row] = {}
        self._closed = self._abandoned = False
        self._running: Rows | None = None
        self._coming: Rows | None = None  # those whose prompts are being read
        self._more = False  # whether others would have come with them, but for their prompts
        self._steps = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many rows are being read or decoded."""
        return sum(rows.alive for rows in (self._running, self._coming) if rows)

    def submit(
        self,
        prompt: Sequence[int],
        sampling: Sampling,
        seeds: Sequence[int],
        top: int = 0,
    ) -> list[Row]:
        """Queue one reply for each of ``seeds``; none of them where not all find a place.

        Raises:
            InputError: the prompt is empty or leaves no room for a reply.
            QueueFull: too many wait, or this batcher is closed.
        """
        room = room_for_reply(prompt, min(self.context, self.cells - self.spare))
        endings = Endings(self.tokenizer, self.ends, sampling.stop)
        limit = min(sampling.max_new_tokens, room)
        rows = [
            Row(tuple(prompt), np.random.default_rng(seed), limit, sampling, endings, top)
            for seed in seeds
        ]
        with self._lock:
            if self._closed or len(self._waiting) + len(rows) > self.limits.waiting:
                raise QueueFull
            self._waiting.extend(rows)
            self._lock.notify()
        return rows

    def cancel(self, rows: Sequence[Row]) -> None:
        """Give up ``rows``, wherever they are; nothing more is told of those not yet at their end
        but what is being drawn."""
        with self._lock:
            self._cancelled |= {id(row): row for row in rows}
            self._lock.notify()

    def close(self, now: bool = False) -> None:
        """Take no more requests; ``run`` returns when all have ended, or with ``now`` been given
        up."""
        with self._lock:
            self._closed, self._abandoned = True, now
            self._lock.notify()

    def run(self) -> None:
        """Decode until ``close`` was called and nothing is left."""
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._closed or self._waiting or self.running)
                if self._closed and not self._waiting and not self.running:
                    return
            self.step()

    @torch.inference_mode()
    def step(self) -> bool:
        """Let in who may come in, read of their prompts what a step may, and draw a token for each
        row that is going; False where there is nobody.

        An error (memory that is not there) ends the rows it hit, which are told, and no others.
        """
        self._drop_cancelled()
        rows = self._coming.rows if self._coming else self._admit()
        coming, going = _going(rows), _going(self._running.rows if self._running else [])
        if not coming and not going:
            return False
        drawn: list[Drawn] = []
        ready: Rows | None = None
        with few_threads(self.model, len(coming) + len(going)):
            try:
                ready = self._read(rows) if rows else None
            except Exception as error:
                log.exception("reading prompts failed")
                drawn += _given_up(coming, error)
                self._coming = None
            try:
                drawn += self._advance(ready)
            except Exception as error:
                log.exception("decoding failed")
                drawn += _given_up([*going, *coming] if ready else going, error)
                self._running = None
        if drawn:
            self.tell(drawn)
        return True

    def _read(self, rows: list[Row]) -> Rows | None:
        """Those who come, once their prompts are read to their ends."""
        if self._coming is None:
            self._coming = begin(self.model, rows, self.draft, self.prefixes)
        coming = self._coming
        # A cache that others cannot join may be none that a prompt is read into by parts.
        if not coming.read(self._at_once() if coming.joinable else None):
            return None
        for place, row in enumerate(coming.rows):
            self.prefixes.store(coming.past, place, row.prompt)
        self._coming = None
        return coming

    def _advance(self, ready: Rows | None) -> list[Drawn]:
        if self._running is None:
            self._running = ready
        elif ready is not None:
            self._running.join(ready)
        if self._running is None:
            return []
        before = [(row, len(row.tokens), row.proposed, row.accepted)
                  for row in self._running.rows if row.going]  # fmt: skip
        self._running.step()
        self._steps += 1
        ended = {id(row) for row, *_ in before if not row.going}
        for place, row in enumerate(self._running.rows):
            if id(row) in ended:
                self.prefixes.store(self._running.past, place, (*row.prompt, *row.tokens[:-1]))
        if not self._running.alive:
            self._running = None
        self.proposed += sum(row.proposed - proposed for row, _, proposed, _ in before)
        self.accepted += sum(row.accepted - accepted for row, *_, accepted in before)
        return [
            Drawn(row, row.tokens[place], row.logprobs[place], row.tops[place] if row.top else [],
                  not row.going and place == len(row.tokens) - 1)
            for row, told, *_ in before for place in range(told, len(row.tokens))
        ]  # fmt: skip

    def _drop_cancelled(self) -> None:
        with self._lock:
            if not self._cancelled and not self._abandoned:
                return
            gone, self._cancelled, everyone = self._cancelled, {}, self._abandoned
            keeps = [] if everyone else [row for row in self._waiting if id(row) not in gone]
            self._waiting = deque(keeps)
        for rows in (self._running, self._coming):
            for row in rows.rows if rows else ():
                row.going = row.going and not everyone and id(row) not in gone
        self._running, self._coming = (
            rows if rows and rows.alive else None for rows in (self._running, self._coming)
        )

    def _at_once(self) -> int:
        """Cells of prompts that may be read in a step."""
        least = self.limits.chunk_tokens
        return least if self._running else max(least, PREFILL)

    def _most(self, row: Row) -> int:
        """Cells that a row takes at its longest."""
        return len(row.prompt) + row.limit + self.spare

    def _admit(self) -> list[Row]:
        """Those who waited longest, as many as fit beside those who run; none overtakes another."""
        running = self._running
        early = self._steps % self.limits.join_every and not self._more
        if running is not None and (early or not running.joinable):
            return []
        self._more = False
        inside = _going(running.rows) if running else []
        longest = max((self._most(row) for row in inside), default=0)
        coming: list[Row] = []
        unread: dict[tuple[int, ...], int] = {}  # tokens that are to be read of each prompt
        with self._lock:
            while self._waiting and len(inside) + len(coming) < self.limits.rows:
                row = self._waiting[0]
                longest = max(longest, self._most(row))
                if (len(inside) + len(coming) + 1) * longest > self.cells:
                    break
                if row.prompt not in unread:
                    known = sum(map(len, self.prefixes.find(row.prompt)))
                    unread[row.prompt] = len(row.prompt) - known
                    if coming and len(unread) * max(unread.values()) > self._at_once():
                        self._more = True
                        break
                coming.append(self._waiting.popleft())
        return coming


def _going(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.going]


def _given_up(rows: Sequence[Row], error: Exception) -> list[Drawn]:
    """What is told of those that an error hit."""
    for row in rows:
        row.going = False
    return [Drawn(row, None, last=True, error=error) for row in rows]
