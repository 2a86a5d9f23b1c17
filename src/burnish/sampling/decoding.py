"""A batch of sequences being decoded together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from burnish.sampling.draw import draw, uniform_streams
from burnish.sampling.settings import Sampling

COMPACT_AT = 0.75
"""The batch is made smaller when at most this share of its rows is still decoding."""


class Rows:
    """``R`` requests: their cache, and the tokens drawn so far, at most ``limits [R]`` each.

    Prompts are padded on the left; the model is given explicit positions and a mask, so that
    padding changes nothing. The cache holds only computed values, never uninitialised memory,
    which would spread from behind a mask where it is NaN (0 x NaN is NaN).
    """

    def __init__(
        self,
        model: Any,
        prompts: Sequence[tuple[int, ...]],
        seeds: Sequence[int],
        limits: Sequence[int],
        sampling: Sampling,
        ends: frozenset[int],
    ) -> None:
        self.model, self.sampling = model, sampling
        self.device = model.get_input_embeddings().weight.device
        self.ends = torch.tensor(sorted(ends), device=self.device)
        length = max(limits)
        self.limits = torch.tensor(limits, device=self.device)
        self.uniform = uniform_streams(seeds, length).to(self.device)
        self.tokens = torch.zeros(len(prompts), length, dtype=torch.long, device=self.device)
        self.logprobs = torch.zeros(len(prompts), length, device=self.device)
        self.lengths = torch.zeros(len(prompts), dtype=torch.long, device=self.device)
        self.rows = torch.arange(len(prompts), device=self.device)
        self.going = torch.ones(len(prompts), dtype=torch.bool, device=self.device)
        self.alive = len(prompts)
        self.done = 0
        self._prefill(prompts)

    def _prefill(self, prompts: Sequence[tuple[int, ...]]) -> None:
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
        self.cache = DynamicCache(config=self.model.config)
        logits = self._forward(tokens, positions, seen)
        if len(distinct) < len(prompts):
            share = torch.tensor([place[prompt] for prompt in prompts], device=self.device)
            self.cache.batch_select_indices(share)
            logits, seen, positions = logits[share], seen[share], positions[share]
        self.logits, self.seen = logits, seen
        self.position = positions[:, -1]
        self.last = seen.new_zeros(len(prompts), dtype=torch.long)

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
        if self.done > 0:
            self._feed(self.last)
        tokens, logprobs = draw(self.logits, self.uniform[self.rows, self.done], self.sampling)
        rows, going = self.rows, self.going
        self.tokens[rows, self.done] = tokens
        self.logprobs[rows, self.done] = logprobs
        self.lengths[rows] += going
        self.last = tokens
        self.done += 1
        self.going = going & ~torch.isin(tokens, self.ends) & (self.limits[rows] > self.done)
        before, self.alive = self.alive, int(self.going.sum())
        if 0 < self.alive <= COMPACT_AT * len(rows):
            self._compact()
        return before - self.alive

    def _feed(self, tokens: Tensor) -> None:
        self.position = self.position + 1
        grown = self.seen.new_ones(len(self.seen), 1)
        self.seen = torch.cat([self.seen, grown], 1)
        self.logits = self._forward(tokens[:, None], self.position[:, None], self.seen)

    def _compact(self) -> None:
        """Drop the rows that ended."""
        keep = self.going.nonzero().squeeze(1)
        self.cache.batch_select_indices(keep)
        self.rows, self.going, self.last = self.rows[keep], self.going[keep], self.last[keep]
        self.seen, self.position = self.seen[keep], self.position[keep]

    def results(self) -> list[tuple[list[int], list[float]]]:
        """Tokens and log-probabilities of each request, in the order they were given."""
        tokens, logprobs = self.tokens.tolist(), self.logprobs.tolist()
        return [
            (tokens[row][:length], logprobs[row][:length])
            for row, length in enumerate(self.lengths.tolist())
        ]
