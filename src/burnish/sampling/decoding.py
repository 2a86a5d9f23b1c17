"""A batch of sequences being decoded together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.sampling.cache import new_cache
from burnish.sampling.draw import draw
from burnish.sampling.settings import Sampling
from burnish.sampling.stopping import Endings

COMPACT_AT = 0.75
"""The batch is made smaller when at most this share of its rows is still decoding."""


@dataclass
class Row:
    """One request: its prompt, its own random numbers, at most ``limit`` tokens, those so far."""

    prompt: tuple[int, ...]
    random: np.random.Generator
    limit: int
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    going: bool = True


class Rows:
    """A batch of requests: their cache, and the tokens drawn so far.

    Prompts are padded on the left; the model is given explicit positions and a mask, so that
    padding changes nothing. The cache holds only computed values, never uninitialised memory,
    which would spread from behind a mask where it is NaN (0 x NaN is NaN).
    """

    def __init__(
        self, model: Any, rows: Sequence[Row], sampling: Sampling, endings: Endings
    ) -> None:
        self.model, self.sampling, self.endings = model, sampling, endings
        self.device = model.get_input_embeddings().weight.device
        self.rows = list(rows)
        self.logits = self._prefill([row.prompt for row in rows])

    @property
    def alive(self) -> int:
        """How many rows are still going."""
        return sum(row.going for row in self.rows)

    def _prefill(self, prompts: Sequence[tuple[int, ...]]) -> Tensor:
        """Compute each distinct prompt once and share its cache out to its requests."""
        distinct = list(dict.fromkeys(prompts))
        place = {prompt: row for row, prompt in enumerate(distinct)}
        width = max(len(prompt) for prompt in distinct)
        grid = np.zeros((len(distinct), width), dtype=np.int64)
        real = np.zeros((len(distinct), width), dtype=bool)
        for row, prompt in enumerate(distinct):
            grid[row, width - len(prompt) :] = prompt
            real[row, width - len(prompt) :] = True
        tokens = torch.from_numpy(grid).to(self.device)
        seen = torch.from_numpy(real).to(self.device)
        positions = (seen.long().cumsum(1) - 1).clamp(min=0)
        self.cache = new_cache(self.model.config)
        logits = self._forward(tokens, positions, seen)
        if len(distinct) < len(prompts):
            share = torch.tensor([place[prompt] for prompt in prompts], device=self.device)
            self.cache.batch_select_indices(share)
            logits, seen, positions = logits[share], seen[share], positions[share]
        self.seen = seen
        self.position = positions[:, -1]
        return logits

    def _forward(self, tokens: Tensor, positions: Tensor, seen: Tensor) -> Tensor:
        """Logits ``[R, V]`` after the last of ``tokens [R, L]``; the cache grows by ``L``.

        ``seen``: which cells of the cache, with the new ones, hold a token.
        """
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

    def step(self) -> int:
        """Draw one token for every row still going; returns how many rows ended with it."""
        before = self.alive
        if self.rows[0].tokens:
            self._feed()
        uniform = torch.tensor([row.random.random() for row in self.rows], dtype=torch.float64)
        tokens, logprobs = draw(self.logits, uniform.to(self.device), self.sampling)
        for row, token, logprob in zip(self.rows, tokens.tolist(), logprobs.tolist(), strict=True):
            if row.going:
                row.tokens.append(token)
                row.logprobs.append(logprob)
                row.going = len(row.tokens) < row.limit and not self.endings.ended(row.tokens)
        return before - self.alive

    def _feed(self) -> None:
        """Give the model the tokens drawn last."""
        if self.alive <= COMPACT_AT * len(self.rows):
            self._compact()
        self.position = self.position + 1
        self.seen = torch.cat([self.seen, self.seen.new_ones(len(self.rows), 1)], 1)
        last = torch.tensor([[row.tokens[-1]] for row in self.rows], device=self.device)
        self.logits = self._forward(last, self.position[:, None], self.seen)

    def _compact(self) -> None:
        """Drop the rows that ended."""
        going = [index for index, row in enumerate(self.rows) if row.going]
        keep = torch.tensor(going, device=self.device)
        self.cache.batch_select_indices(keep)
        self.rows = [self.rows[index] for index in going]
        self.seen, self.position = self.seen[keep], self.position[keep]
