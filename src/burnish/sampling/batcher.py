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
from pydantic import PositiveInt

from burnish.config import InputError, Settings
from burnish.sampling.cache import cell_bytes, context_length
from burnish.sampling.decoding import JOIN_EVERY, Row, Rows
from burnish.sampling.settings import Sampling
from burnish.sampling.speculative import Draft, begin
from burnish.sampling.stopping import Endings
from burnish.sampling.threads import few_threads
from burnish.text.templates import end_tokens

log = logging.getLogger(__name__)

PREFILL = 8192
"""Cells that newcomers may fill at once: rows that are going wait for them."""
MIB = 2**20


class BatchLimits(Settings):
    """How much runs and waits at a time.

    ``rows`` are decoded together. Their keys and values, at the longest that replies may get, take
    at most ``cache_mib`` (and up to 0.4 of that again in room to grow). ``waiting`` requests
    queue. Requests are let in every ``join_every`` steps.
    """

    rows: PositiveInt = 32
    cache_mib: PositiveInt = 2048
    waiting: PositiveInt = 256
    join_every: PositiveInt = JOIN_EVERY


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
        self.proposed = self.accepted = 0
        self.ends = frozenset(end_tokens(tokenizer))
        self._lock = threading.Condition()
        self._waiting: deque[Row] = deque()
        self._cancelled: dict[int, Row] = {}
        self._closed = self._abandoned = False
        self._running: Rows | None = None
        self._steps = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many rows are being decoded."""
        rows = self._running
        return rows.alive if rows else 0

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
                self._lock.wait_for(lambda: self._closed or self._waiting or self._running)
                if self._closed and not self._waiting and not self._running:
                    return
            self.step()

    @torch.inference_mode()
    def step(self) -> bool:
        """Let in who may come in, and draw a token for each row; False where there is nobody.

        An error (memory that is not there) ends the rows it hit, which are told, and no others.
        """
        self._drop_cancelled()
        coming = self._admit()
        if self._running is None and not coming:
            return False
        try:
            drawn = self._advance(coming)
        except Exception as error:
            log.exception("decoding failed")
            hit = [*(self._running.rows if self._running else []), *coming]
            drawn = [Drawn(row, None, last=True, error=error) for row in hit if row.going]
            self._running = None
        self.tell(drawn)
        return True

    def _advance(self, coming: list[Row]) -> list[Drawn]:
        count = self.running + len(coming)
        with few_threads(self.model, count):
            if self._running is None:
                self._running = begin(self.model, coming, self.draft)
            elif coming:
                self._running.join(coming)
            before = [(row, len(row.tokens), row.proposed, row.accepted)
                      for row in self._running.rows if row.going]  # fmt: skip
            self._running.step()
        self._steps += 1
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
        if self._running is not None:
            for row in self._running.rows:
                row.going = row.going and not everyone and id(row) not in gone
            if not self._running.alive:
                self._running = None

    def _most(self, row: Row) -> int:
        """Cells that a row takes at its longest."""
        return len(row.prompt) + row.limit + self.spare

    def _admit(self) -> list[Row]:
        """Those who waited longest, as many as fit beside those who run; none overtakes another."""
        running = self._running
        if running is not None and (self._steps % self.limits.join_every or not running.joinable):
            return []
        inside = [row for row in running.rows if row.going] if running else []
        longest = max((self._most(row) for row in inside), default=0)
        coming: list[Row] = []
        widest = 0
        with self._lock:
            while self._waiting and len(inside) + len(coming) < self.limits.rows:
                row = self._waiting[0]
                longest = max(longest, self._most(row))
                widest = max(widest, len(row.prompt))
                count = len(coming) + 1
                if (len(inside) + count) * longest > self.cells:
                    break
                if coming and count * widest > PREFILL:
                    break
                coming.append(self._waiting.popleft())
        return coming
