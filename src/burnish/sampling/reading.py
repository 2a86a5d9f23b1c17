"""Prompts on their way into a model, as many cells at a time as others can wait for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from burnish.sampling.cache import keep
from burnish.sampling.past import Past
from burnish.sampling.prefixes import Prefixes


class Reading:
    """Prompts that ``past``, still empty, is to hold.

    Each distinct prompt is computed once, and its cache shared out to its rows in the end. A prompt
    may be empty; its logits mean nothing. All end in the same cell and are read from the same one
    on: where one begins with tokens that ``prefixes`` knows, it still reads as many as the one that
    has most to read, for which there would be padding otherwise.

    ``left``: columns that are not read yet. ``logits [R, V]`` after each prompt, once it is 0.
    ``known [R]``: of how many tokens the cells were there before.
    """

    def __init__(
        self, past: Past, prompts: Sequence[tuple[int, ...]], prefixes: Prefixes | None = None
    ) -> None:
        self.past = past
        distinct = list(dict.fromkeys(prompts))
        place = {prompt: row for row, prompt in enumerate(distinct)}
        self._share = [place[prompt] for prompt in prompts]
        found = [prefixes.find(prompt) if prefixes else [] for prompt in distinct]
        self.left = max(
            1, *(len(prompt) - sum(map(len, blocks))
                 for prompt, blocks in zip(distinct, found, strict=True))
        )  # fmt: skip
        known = [max(0, len(prompt) - self.left) for prompt in distinct]
        self.known = [known[row] for row in self._share]
        if prefixes and any(known):
            prefixes.begin(past, found, known)
        grid = np.zeros((len(distinct), self.left), dtype=np.int64)
        for row, prompt in enumerate(distinct):
            unread = prompt[known[row] :]
            grid[row, self.left - len(unread) :] = unread
        self._grid = torch.from_numpy(grid).to(past.device)
        self._lengths = torch.tensor([len(prompt) for prompt in distinct], device=past.device)
        self.logits: Tensor

    def go_on(self, most: int | None = None) -> None:
        """Read at most ``most`` cells more, or one column; without it, all."""
        rows, width = self._grid.shape
        begin = width - self.left
        columns = self.left if most is None else min(self.left, max(1, most // rows))
        self.left -= columns
        new = self._grid[:, begin : begin + columns]
        logits = self.past.feed(new, self._lengths - self.left)[:, -1]
        if not self.left:
            if rows < len(self._share):
                share = torch.tensor(self._share, device=self.past.device)
                keep(self.past.cache, share)
                logits = logits[share]
            self.logits = logits
