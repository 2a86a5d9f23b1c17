"""A batch of sequences being decoded together; some end, others join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from burnish.sampling.draw import draw, likeliest
from burnish.sampling.past import Past
from burnish.sampling.prefixes import Prefixes
from burnish.sampling.reading import Reading
from burnish.sampling.settings import Sampling
from burnish.sampling.stopping import Endings

COMPACT_AT = 0.75
"""The batch is made smaller when at most this share of its rows is still decoding."""
LEAST_UNUSED = 32
UNUSED = 0.125
"""Cells in front that no row uses any more are given up when they are this share of those in use,
and at least so many: each time, all others are copied."""
JOIN_EVERY = 4
"""Steps between two times that others are let in: so that they come several at a time."""


@dataclass
class Row:
    """One request: its prompt, its own random numbers, at most ``limit`` tokens, those so far.

    ``top``: how many of the likeliest tokens are noted with each that is drawn, as (id,
    log-probability) in ``tops``. ``going`` may be set to False from outside between two steps, to
    give a row up. ``known``: tokens of its prompt that did not have to be read, see ``prefixes``.
    ``proposed``: tokens that a draft model said first, of which ``accepted`` stayed.
    """

    prompt: tuple[int, ...]
    random: np.random.Generator
    limit: int
    sampling: Sampling
    endings: Endings
    top: int = 0
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    tops: list[list[tuple[int, float]]] = field(default_factory=list)
    going: bool = True
    known: int = 0
    proposed: int = 0
    accepted: int = 0

    def take(self, token: int, logprob: float, top: list[tuple[int, float]]) -> None:
        """One more token of the reply; it may end it."""
        self.tokens.append(token)
        self.logprobs.append(logprob)
        if self.top:
            self.tops.append(top)
        self.going = len(self.tokens) < self.limit and not self.endings.ended(self.tokens)

    @property
    def length(self) -> int:
        """Tokens of prompt and reply so far."""
        return len(self.prompt) + len(self.tokens)


class Rows:
    """A batch of requests: what the model has computed of them, and the tokens drawn so far.

    A row that ended in the last step stands as those that go on do: all of its tokens but the last
    in the last cells. Later that no longer holds.
    """

    def __init__(self, model: Any, rows: Sequence[Row], prefixes: Prefixes | None = None) -> None:
        self.rows = list(rows)
        self.past = Past(model)
        self.logits: Tensor
        self._readings = [Reading(self.past, [row.prompt for row in rows], prefixes)]
        for row, known in zip(rows, self._readings[0].known, strict=True):
            row.known = known
        self._drawn = False  # whether tokens were drawn that the model has not seen

    @property
    def width(self) -> int:
        """Cells of the cache."""
        return self.past.width

    @property
    def alive(self) -> int:
        """How many rows are still going."""
        return sum(row.going for row in self.rows)

    @property
    def joinable(self) -> bool:
        """Whether this model's rows can be joined by others."""
        return self.past.joinable

    def read(self, most: int | None = None) -> bool:
        """Read at most so many cells of what is left of the prompts; returns whether that was all.

        What is left when rows are stepped or joined is read then.
        """
        for reading in self._readings:
            if reading.left:
                reading.go_on(most)
        if any(reading.left for reading in self._readings):
            return False
        if self._readings:
            self.logits = self._readings[0].logits
            self._readings = []
        return True

    def join(self, new: Rows) -> None:
        """Let ``new`` rows in, first into the places of rows that ended. Only if ``joinable``."""
        self.read()
        new.read()
        rows = new.rows
        self._prepare(len(rows))
        ended = [place for place, row in enumerate(self.rows) if not row.going]
        count = max(len(self.rows), self.alive + len(rows))
        places = [*ended, *range(len(self.rows), count)][: len(rows)]
        self._take_in(new, torch.tensor(places, device=self.past.device), count)
        self.rows += rows[len(ended) :]
        for place, row in zip(ended, rows, strict=False):
            self.rows[place] = row

    def step(self) -> list[Row]:
        """Draw one token for every row still going; returns these rows."""
        self.read()
        self._prepare(0)
        going = [row for row in self.rows if row.going]
        for places, sampling in self._alike(range(len(self.rows))):
            self._draw(places, sampling)
        self._drawn = True
        return going

    def _prepare(self, coming: int) -> None:
        """Give the model the tokens drawn last; ``coming`` rows will join after that."""
        if not self._drawn:
            return
        self._make_room(coming)
        last = torch.tensor([row.tokens[-1:] or [0] for row in self.rows], device=self.past.device)
        self.logits = self.past.feed(last, self._lengths())[:, -1]
        self._drawn = False

    def _lengths(self, more: int = 0) -> Tensor:
        """Tokens of each row, ``[R]``, with ``more`` proposals of a draft model.

        A row that ended is given its first position: others may not exist in the model.
        """
        lengths = [row.length + more if row.going else 1 for row in self.rows]
        return torch.tensor(lengths, device=self.past.device)

    def _take_in(self, new: Self, places: Tensor, count: int) -> None:
        """What is computed of ``new`` rows comes to these places of ``count``."""
        self.past.take_in(new.past, places, count)
        logits = self.logits.new_zeros(count, self.logits.shape[1])
        logits[: len(self.logits)] = self.logits
        logits[places] = new.logits
        self.logits = logits

    def _alike(self, places: Sequence[int]) -> list[tuple[list[int], Sampling]]:
        """Those of the places whose rows draw in the same way, together."""
        ways: dict[tuple[float, float], list[int]] = {}
        for place in places:
            sampling = self.rows[place].sampling
            ways.setdefault((sampling.temperature, sampling.top_p), []).append(place)
        return [(alike, self.rows[alike[0]].sampling) for alike in ways.values()]

    def _draw(self, places: Sequence[int], sampling: Sampling) -> None:
        rows = [self.rows[place] for place in places]
        logits = self.logits if len(rows) == len(self.rows) else self.logits[places]
        uniform = torch.tensor([row.random.random() for row in rows], dtype=torch.float64)
        tokens, logprobs = draw(logits, uniform.to(self.past.device), sampling)
        for index, (row, token, logprob) in enumerate(
            zip(rows, tokens.tolist(), logprobs.tolist(), strict=True)
        ):
            if row.going:
                top = likeliest(logits[index], row.top, sampling) if row.top else []
                row.take(token, logprob, top)

    def _make_room(self, coming: int) -> None:
        """Drop rows that ended and cells that no row uses, where they are many."""
        needed = max((row.length for row in self.rows if row.going), default=1) - 1
        unused = self.width - needed if self.joinable else 0
        much = unused >= max(LEAST_UNUSED, UNUSED * needed)
        if self.alive + coming <= COMPACT_AT * len(self.rows) or much:
            going = [index for index, row in enumerate(self.rows) if row.going]
            self._keep(going, needed)
            self.rows = [self.rows[index] for index in going]

    def _keep(self, places: Sequence[int], cells: int) -> None:
        """Keep these rows, and the last ``cells`` of each."""
        self.past.keep(places, cells)
