"""How packed tokens are divided for attention: grids for any kernel, offsets for a flash kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.text.batches import Batch

CALL = 4096
"""What one more kernel call costs, as pairs of a query and a key that could be scored instead."""

Places = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Grid:
    """``rows`` spans of up to ``columns`` tokens, each after up to ``past`` shared ones.

    ``pasts``: how many shared tokens each row really has; they stand on the right of their columns.
    """

    rows: int
    columns: int
    past: int
    pasts: tuple[int, ...]


@dataclass(frozen=True)
class Copies:
    """Cells filled from packed tokens, some of them several times; ``K`` cells, ``T`` tokens.

    ``gather [K]``: the token in each cell (0 for padding); ``cells``: the cells of the first
    token, then those of the second, ...; ``offsets [T]``: where each token's begin.
    """

    gather: Tensor
    cells: Tensor
    offsets: Tensor


@dataclass(frozen=True)
class Grids:
    """Grids one after another, with ``C`` cells for queries.

    ``gather [C]``: the packed place that fills each cell (0 for padding); ``scatter [T]``: the
    cell of each packed token; ``keys``: cells of the keys, None where they are those of queries.
    """

    grids: tuple[Grid, ...]
    gather: Tensor
    scatter: Tensor
    keys: Copies | None


@dataclass(frozen=True)
class Rows:
    """Spans without padding, for a kernel that is told where each begins.

    ``queries``, ``keys``: int32 offsets, one more than spans; ``longest``: queries and keys of the
    longest; ``copies``: the keys, None where they are the packed tokens themselves.
    """

    queries: Tensor
    keys: Tensor
    longest: tuple[int, int]
    copies: Copies | None


class Packing:
    """The division of one batch, worked out once a forward pass, as far as it is asked for."""

    def __init__(self, batch: Batch) -> None:
        self.spans = sorted([*batch.own, *batch.shared])
        self.device = batch.device
        self._longest = dict.fromkeys((span.start for span in batch.shared), 0)
        for span in batch.own:
            if span.past:
                whole = span.past + span.length
                self._longest[span.past_start] = max(whole, self._longest[span.past_start])
        self._masks: dict[tuple[int, int | None], Tensor] = {}

    @cached_property
    def grids(self) -> Grids:
        """Spans that need not share a kernel call, grouped with others of their length."""
        spans = np.array(self.spans, dtype=np.int64)
        grids: list[Grid] = []
        queries: list[Places] = []
        keys: list[Places] = []
        for members in _alike(spans):
            start, length, past_start, past = spans[members].T[:, :, None]
            columns, before = np.arange(length.max()), np.arange(-past.max(), 0)
            own = np.where(columns < length, start + columns, -1)
            earlier = np.where(before >= -past, past_start + past + before, -1)
            queries.append(own.ravel())
            keys.append(np.concatenate([earlier, own], 1).ravel())
            pasts = tuple(past.ravel().tolist())
            grids.append(Grid(len(members), len(columns), len(before), pasts))
        places = np.concatenate(queries)
        real = (places >= 0).nonzero()[0]
        scatter = np.empty(len(real), dtype=np.int64)
        scatter[places[real]] = real
        shared = any(grid.past for grid in grids)
        return Grids(
            tuple(grids),
            self._tensor(places.clip(0)),
            self._tensor(scatter),
            self._copies(np.concatenate(keys)) if shared else None,
        )

    @cached_property
    def rows(self) -> Rows:
        """The spans in their order."""
        lengths = np.array([span.length for span in self.spans])
        wholes = np.array([span.past + span.length for span in self.spans])
        places = [
            np.arange(begin, begin + count)
            for span in self.spans
            for begin, count in ((span.past_start, span.past), (span.start, span.length))
        ]
        shared = bool((wholes > lengths).any())
        return Rows(
            self._tensor(np.append(0, lengths.cumsum()).astype(np.int32)),
            self._tensor(np.append(0, wholes.cumsum()).astype(np.int32)),
            (int(lengths.max()), int(wholes.max())),
            self._copies(np.concatenate(places)) if shared else None,
        )

    def mask(self, number: int, window: int | None) -> Tensor | None:
        """What is added to the scores of grid ``number``, ``[rows or 1, 1, columns, past +
        columns]`` float32: 0 where a query sees a key, else -inf. None for plain causal rows.

        ``window``: of sliding attention, in tokens.
        """
        grid = self.grids.grids[number]
        if window is not None and window >= grid.past + grid.columns:
            window = None
        if not grid.past and window is None:
            return None
        if (number, window) not in self._masks:
            self._masks[number, window] = _mask(grid, window).to(self.device)
        return self._masks[number, window]

    def segment_lengths(self) -> Tensor:
        """``[T]``: tokens of the segment of each token, of the longest one where it is shared."""
        lengths = [self._longest.get(s.start, s.past + s.length) for s in self.spans]
        return self._tensor(np.repeat(lengths, [span.length for span in self.spans]))

    def _copies(self, places: Places) -> Copies:
        real = (places >= 0).nonzero()[0]
        cells = real[np.argsort(places[real], kind="stable")]
        counts = np.bincount(places[real])
        return Copies(
            self._tensor(places.clip(0)),
            self._tensor(cells),
            self._tensor(counts.cumsum() - counts),
        )

    def _tensor(self, values: np.ndarray[Any, Any]) -> Tensor:
        return torch.from_numpy(values).to(self.device)


def _mask(grid: Grid, window: int | None) -> Tensor:
    row = torch.arange(grid.past, grid.past + grid.columns)[:, None]
    column = torch.arange(grid.past + grid.columns)[None]
    seen = column <= row
    if window is not None:
        seen &= row - column < window
    pasts = grid.pasts[:1] if len(set(grid.pasts)) == 1 else grid.pasts
    first = grid.past - torch.tensor(pasts)[:, None, None]
    mask = torch.zeros(len(pasts), 1, grid.columns, grid.past + grid.columns)
    return mask.masked_fill_(~(seen & (column >= first))[:, None], -torch.inf)


def _alike(spans: Places) -> list[Places]:
    """Indices of spans that go into one grid, where padding costs less than another grid would.

    Spans that share and those that do not are kept apart, for only these have a causal kernel.
    """
    lengths, pasts = spans[:, 1].tolist(), spans[:, 3].tolist()
    order = sorted(range(len(spans)), key=lambda i: (pasts[i] > 0, -pasts[i] - lengths[i]))
    groups: list[list[int]] = []
    columns = past = 0
    for index in order:
        length, before = lengths[index], pasts[index]
        if groups and (past > 0) == (before > 0):
            rows, wide, deep = len(groups[-1]), max(columns, length), max(past, before)
            apart = rows * columns * (past + columns) + length * (before + length) + CALL
            if (rows + 1) * wide * (deep + wide) <= apart:
                groups[-1].append(index)
                columns, past = wide, deep
                continue
        groups.append([index])
        columns, past = length, before
    return [np.array(sorted(group)) for group in groups]
