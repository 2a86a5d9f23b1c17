"""A batch of sequences being decoded together; some end, others join."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.sampling.cache import joinable, keep, new_cache, take_in
from burnish.sampling.draw import draw, likeliest
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
    give a row up.
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

    @property
    def length(self) -> int:
        """Tokens of prompt and reply so far."""
        return len(self.prompt) + len(self.tokens)


class Rows:
    """A batch of requests: their cache, and the tokens drawn so far.

    Prompts are padded on the left; the model is given explicit positions and a mask, so that
    padding changes nothing. The cache holds only computed values, never uninitialised memory,
    which would spread from behind a mask where it is NaN (0 x NaN is NaN).
    """

    def __init__(self, model: Any, rows: Sequence[Row]) -> None:
        self.model = model
        self.device = model.get_input_embeddings().weight.device
        self.rows = list(rows)
        self.width = max(len(row.prompt) for row in rows)
        self.cache = new_cache(model.config)
        self.logits = self._prefill([row.prompt for row in rows])
        self._drawn = False  # whether tokens were drawn that the model has not seen

    @property
    def alive(self) -> int:
        """How many rows are still going."""
        return sum(row.going for row in self.rows)

    @property
    def joinable(self) -> bool:
        """Whether this model's rows can be joined by others."""
        return joinable(self.cache)

    def _prefill(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Compute each distinct prompt once and share its cache out to its requests."""
        distinct = list(dict.fromkeys(prompts))
        place = {prompt: row for row, prompt in enumerate(distinct)}
        grid = np.zeros((len(distinct), self.width), dtype=np.int64)
        for row, prompt in enumerate(distinct):
            grid[row, self.width - len(prompt) :] = prompt
        lengths = torch.tensor([len(prompt) for prompt in distinct], device=self.device)
        logits = self._forward(torch.from_numpy(grid).to(self.device), lengths)
        if len(distinct) < len(prompts):
            share = torch.tensor([place[prompt] for prompt in prompts], device=self.device)
            keep(self.cache, share)
            logits = logits[share]
        return logits

    def _forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Logits ``[R, V]`` after the last of ``tokens [R, L]``; the cache grows by ``L``.

        ``lengths [R]``: how many of a row's last cells, with the new ones, hold a token.
        """
        cells = torch.arange(-self.width, 0, device=self.device)
        seen = cells >= -lengths[:, None]
        positions = (cells[-tokens.shape[1] :] + lengths[:, None]).clamp(min=0)
        output = self.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=seen.long(),
            cache=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1].float()
        return logits

    def join(self, rows: Sequence[Row]) -> None:
        """Let ``rows`` in, first into the places of rows that ended. Only if ``joinable``."""
        if self._drawn:
            self._feed(len(rows))
        new = Rows(self.model, rows)
        ended = [place for place, row in enumerate(self.rows) if not row.going]
        count = max(len(self.rows), self.alive + len(rows))
        places = [*ended, *range(len(self.rows), count)][: len(rows)]
        where = torch.tensor(places, device=self.device)
        take_in(self.cache, new.cache, where, count)
        self.width = max(self.width, new.width)
        logits = self.logits.new_zeros(count, self.logits.shape[1])
        logits[: len(self.logits)] = self.logits
        logits[where] = new.logits
        self.logits = logits
        self.rows += rows[len(ended) :]
        for place, row in zip(ended, rows, strict=False):
            self.rows[place] = row

    def step(self) -> list[Row]:
        """Draw one token for every row still going; returns these rows."""
        if self._drawn:
            self._feed(0)
        going = [row for row in self.rows if row.going]
        for rows, sampling in self._alike():
            self._draw(rows, sampling)
        self._drawn = True
        return going

    def _alike(self) -> list[tuple[list[int], Sampling]]:
        """Places of rows that draw in the same way."""
        ways: dict[tuple[float, float], list[int]] = {}
        for place, row in enumerate(self.rows):
            ways.setdefault((row.sampling.temperature, row.sampling.top_p), []).append(place)
        return [(places, self.rows[places[0]].sampling) for places in ways.values()]

    def _draw(self, places: Sequence[int], sampling: Sampling) -> None:
        rows = [self.rows[place] for place in places]
        logits = self.logits if len(rows) == len(self.rows) else self.logits[places]
        uniform = torch.tensor([row.random.random() for row in rows], dtype=torch.float64)
        tokens, logprobs = draw(logits, uniform.to(self.device), sampling)
        for index, (row, token, logprob) in enumerate(
            zip(rows, tokens.tolist(), logprobs.tolist(), strict=True)
        ):
            if row.going:
                row.tokens.append(token)
                row.logprobs.append(logprob)
                if row.top:
                    row.tops.append(likeliest(logits[index], row.top, sampling))
                row.going = len(row.tokens) < row.limit and not row.endings.ended(row.tokens)

    def _feed(self, coming: int) -> None:
        """Give the model the tokens drawn last; ``coming`` rows will join after that."""
        needed = max((row.length for row in self.rows if row.going), default=1) - 1
        unused = self.width - needed if self.joinable else 0
        much = unused >= max(LEAST_UNUSED, UNUSED * needed)
        if self.alive + coming <= COMPACT_AT * len(self.rows) or much:
            self._compact(unused)
        self.width += 1
        # A row that ended is given its first position: others may not exist in the model.
        lengths = [row.length if row.going else 1 for row in self.rows]
        last = torch.tensor([row.tokens[-1:] or [0] for row in self.rows], device=self.device)
        self.logits = self._forward(last, torch.tensor(lengths, device=self.device))
        self._drawn = False

    def _compact(self, unused: int) -> None:
        """Drop the rows that ended, and the first ``unused`` cells."""
        going = [index for index, row in enumerate(self.rows) if row.going]
        keep(self.cache, torch.tensor(going, device=self.device), unused)
        self.rows = [self.rows[index] for index in going]
        self.width -= unused
