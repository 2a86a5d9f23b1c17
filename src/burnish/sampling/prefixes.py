"""Keys and values of prompts that were computed before, for prompts that begin alike.

A system prompt, the earlier turns of a conversation, a judge's instructions: what a model computes
of a token depends on those before it alone, so that prompts with the same first tokens have the
same first cells. They are kept in blocks of ``BLOCK`` tokens, each known by its tokens and by the
block before it (Kwon et al. 2023, arXiv 2309.06180, section 4.4).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor

from burnish.sampling.cache import cells_of, fill, new_cache, reversible
from burnish.sampling.past import Past

BLOCK = 16
"""Tokens of a block: as many as are found, or kept, together."""
Key = tuple[int, tuple[int, ...]]
"""The number of the block before, 0 for none, and a block's own tokens."""


@dataclass(frozen=True)
class Block:
    """``cells [BLOCK, F]``: of each token, all layers' keys and values in a row."""

    number: int
    cells: Tensor


class Prefixes:
    """What ``model`` computed of beginnings: at most ``cells`` tokens, those used last.

    Nothing is kept of a model whose layers hold more of a row than keys and values of each cell
    (sliding windows, recurrent states): it cannot begin in the middle of a prompt.
    """

    def __init__(self, model: Any, cells: int) -> None:
        self.most = cells // BLOCK if reversible(new_cache(model.config)) else 0
        self._shapes: list[tuple[int, int]] = []
        self._numbers = count(1)
        # Oldest first, and a block always after those that follow it: none outlives the one before.
        self._blocks: OrderedDict[Key, Block] = OrderedDict()

    def find(self, tokens: Sequence[int]) -> list[Tensor]:
        """The cells of the longest beginning that is known, block by block: never all of
        ``tokens``, since there are no logits."""
        path = self._known(tokens[:-1])
        self._touch(path)
        return [self._blocks[key].cells for key in path]

    def store(self, past: Past, row: int, tokens: Sequence[int]) -> None:
        """Keep what ``past`` holds of ``tokens``, the last of which stands in its last cell."""
        whole = min(len(tokens) // BLOCK, self.most)
        path = self._known(tokens[: whole * BLOCK])
        self._touch(path)
        begin, end = len(path) * BLOCK, whole * BLOCK
        if begin == end:
            return
        while len(self._blocks) + whole - len(path) > self.most:
            self._blocks.popitem(last=False)
        first = past.width - len(tokens)
        cells, self._shapes = cells_of(past.cache, row, first + begin, first + end)
        for place, part in zip(range(begin, end, BLOCK), cells.split(BLOCK), strict=True):
            before = self._blocks[path[-1]].number if path else 0
            path.append((before, tuple(tokens[place : place + BLOCK])))
            # A copy: a view would hold the memory of all of them for as long as one is there.
            self._blocks[path[-1]] = Block(next(self._numbers), part.clone())
        self._touch(path)

    def begin(self, past: Past, found: Sequence[Sequence[Tensor]], kept: Sequence[int]) -> None:
        """Give ``past``, still empty, the first ``kept`` cells of each row, out of those found."""
        some = next(blocks[0] for blocks in found if blocks)
        cells = some.new_zeros(len(found), max(kept), some.shape[1])
        for row, (blocks, used) in enumerate(zip(found, kept, strict=True)):
            if used:
                cells[row, -used:] = torch.cat(list(blocks))[:used]
        fill(past.cache, cells, self._shapes)
        past.width = max(kept)

    def _known(self, tokens: Sequence[int]) -> list[Key]:
        path: list[Key] = []
        before = 0
        for place in range(0, len(tokens) - BLOCK + 1, BLOCK):
            key = (before, tuple(tokens[place : place + BLOCK]))
            if key not in self._blocks:
                break
            path.append(key)
            before = self._blocks[key].number
        return path

    def _touch(self, path: Sequence[Key]) -> None:
        for key in reversed(path):
            self._blocks.move_to_end(key)
