"""What a model has computed of a batch of rows: their keys and values, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from burnish.sampling.cache import context_length, joinable, keep, new_cache, take_in


class Past:
    """A model and its cache, ``width`` cells wide.

    Rows end in the same cell, shorter ones are padded on the left. The model is given explicit
    positions and a mask, so that padding changes nothing. The cache holds only computed values,
    never uninitialised memory, which would spread from behind a mask where it is NaN (0 x NaN is
    NaN).
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device = model.get_input_embeddings().weight.device
        self.cache = new_cache(model.config)
        self.width = 0
        self._last = context_length(model) - 1

    @property
    def joinable(self) -> bool:
        """Whether this model's rows can be joined by others."""
        return joinable(self.cache)

    def feed(self, tokens: Tensor, lengths: Tensor, count: int = 1) -> Tensor:
        """Float32 logits ``[R, count, V]`` after the last ``count`` of ``tokens [R, L]``; there are
        then ``L`` cells more.

        ``lengths [R]``: how many of a row's last cells, with the new ones, hold a token.
        """
        self.width += tokens.shape[1]
        cells = torch.arange(-self.width, 0, device=self.device)
        seen = cells >= -lengths[:, None]
        positions = (cells[-tokens.shape[1] :] + lengths[:, None]).clamp(0, self._last)
        output = self.model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=seen.long(),
            cache=self.cache,
            use_cache=True,
            logits_to_keep=count,
        )
        logits: Tensor = output.logits[:, -count:].float()
        return logits

    def take_in(self, other: Past, places: Tensor, rows: int) -> None:
        """Put the rows of ``other`` into ``places`` of what are then ``rows`` rows. Only if
        ``joinable``."""
        take_in(self.cache, other.cache, places, rows)
        self.width = max(self.width, other.width)

    def keep(self, rows: Sequence[int], cells: int) -> None:
        """Keep these rows, and of a model that is ``joinable`` the last ``cells`` cells only."""
        unused = self.width - cells if self.joinable else 0
        keep(self.cache, torch.tensor(rows, device=self.device), unused)
        self.width -= unused

    def take_back(self, counts: Tensor) -> None:
        """Give up the last ``counts [R]`` cells of each row. Only if ``cache.reversible``."""
        for layer in self.cache.layers:
            layer.take_back(counts)
        self.width -= int(counts.min())
