"""A key-value cache for rows that grow token by token, leave, and are joined by others.

Rows end in the same cell: the newest token of each stands in the last one, and what is left of a
row's first token is masked. So a row that joins needs no cells of its own but those of its prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

LEAST_ROOM = 32
ROOM = 0.25
"""Free cells behind those in use when memory is taken: this share of them, and at least so many."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer that writes new cells into free room, where its base copies all for every token.

    ``keys`` and ``values`` show the cells in use, every one of them written; the room behind them
    is never read. Only the methods here may change the layer.
    """

    keys: Tensor
    values: Tensor

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add cells ``[R, H, L, D]``; returns all keys and values."""
        new = (key_states, value_states)
        used = self.get_seq_length()
        cells = used + key_states.shape[2]
        if not used:
            self.lazy_initialization(key_states, value_states)
            self.stores = [_store(state, len(state), cells) for state in new]
        elif cells > self.stores[0].shape[2]:
            self.stores = [_store(state, len(state), cells) for state in new]
            for store, old in zip(self.stores, (self.keys, self.values), strict=True):
                store[:, :, :used] = old
        for store, state in zip(self.stores, new, strict=True):
            store[:, :, used:cells] = state
        self._show(cells)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows ``[R]``, in this order; a row may be taken several times."""
        self.keep(indices, 0)

    def keep(self, rows: Tensor, first: int) -> None:
        """Keep these rows, in this order, and their cells from ``first`` on."""
        if used := self.get_seq_length():
            self.stores = [store[rows, :, first:] for store in self.stores]
            self._show(used - first)

    def take_back(self, counts: Tensor) -> None:
        """Give up the last ``counts [R]`` cells of each row; all end in the same cell again."""
        fewest = int(counts.min())
        used, shifts = self.get_seq_length() - fewest, counts - fewest
        if used and bool(shifts.any()):
            cells = torch.arange(used, device=shifts.device) - shifts[:, None]
            index = cells.clamp(min=0)[:, None, :, None].expand_as(self.keys[:, :, :used])
            for store in self.stores:
                store[:, :, :used] = store.gather(2, index)
        self._show(used)

    def take_in(self, other: RoomyLayer, places: Tensor, rows: int) -> None:
        """Put the rows of ``other`` into ``places`` of what are then ``rows`` rows."""
        used, more = self.get_seq_length(), other.get_seq_length()
        cells = max(used, more)
        if cells > used or rows > len(self.keys):
            old = (self.keys, self.values)
            self.stores = [_store(state, rows, cells) for state in old]
            for store, state in zip(self.stores, old, strict=True):
                store[: len(state), :, cells - used : cells] = state
        for store, state in zip(self.stores, (other.keys, other.values), strict=True):
            store[places, :, cells - more : cells] = state
        self._show(cells)

    def _show(self, cells: int) -> None:
        self.keys, self.values = (store[:, :, :cells] for store in self.stores)


class SlidingLayer(DynamicSlidingWindowLayer):  # type: ignore[misc]
    """A layer that keeps the last cells only, for rows that leave and join."""

    keys: Tensor
    values: Tensor
    cumulative_length: int

    def keep(self, rows: Tensor, first: int) -> None:
        """As ``RoomyLayer.keep``; ``first`` counts from the first cell there ever was."""
        self.cumulative_length -= first
        kept = min(self.cumulative_length, self.keys.shape[2])
        self.keys, self.values = (x[rows, :, -kept:] for x in (self.keys, self.values))

    def take_in(self, other: SlidingLayer, places: Tensor, rows: int) -> None:
        """As ``RoomyLayer.take_in``."""
        self.cumulative_length = max(self.cumulative_length, other.cumulative_length)
        self.keys = _merged(self.keys, other.keys, places, rows)
        self.values = _merged(self.values, other.values, places, rows)


def new_cache(config: Any) -> DynamicCache:
    """An empty cache for a model of this config; layers of other kinds stay as they are."""
    cache = DynamicCache(config=config)
    cache.layers = [_ours(layer) for layer in cache.layers]
    return cache


def cell_bytes(model: Any) -> int:
    """Bytes of one token's keys and values in all layers."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)


def context_length(model: Any) -> int:
    """The number of tokens the model can attend to; very large where its config names none."""
    config = model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 2**31)


def joinable(cache: DynamicCache) -> bool:
    """Whether rows may join: not where layers hold more of a row than keys and values by cell."""
    return all(isinstance(layer, (RoomyLayer, SlidingLayer)) for layer in cache.layers)


def reversible(cache: DynamicCache) -> bool:
    """Whether cells can be taken back: not where a layer forgets some as others come."""
    return all(isinstance(layer, RoomyLayer) for layer in cache.layers)


def keep(cache: DynamicCache, rows: Tensor, first: int = 0) -> None:
    """Keep these rows ``[R]``, in this order, and their cells from ``first`` on.

    ``first`` is above 0 only for a cache that is ``joinable``.
    """
    for layer in cache.layers:
        if first:
            layer.keep(rows, first)
        else:
            layer.batch_select_indices(rows)


def take_in(cache: DynamicCache, other: DynamicCache, places: Tensor, rows: int) -> None:
    """Put the rows of ``other`` into ``places`` of what are then ``rows`` rows, as wide as the
    wider of both. Cells between are zero, or a former row's: finite, and masked."""
    for layer, more in zip(cache.layers, other.layers, strict=True):
        layer.take_in(more, places, rows)


def cells_of(
    cache: DynamicCache, row: int, first: int, end: int
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Keys and values of a row in these cells, ``[L, F]``: of each cell those of all layers, one
    after the other; and the shapes ``(H, D)`` they have there. Only if ``reversible``."""
    states = [state for layer in cache.layers for state in (layer.keys, layer.values)]
    cells = [state[row, :, first:end].transpose(0, 1).flatten(1) for state in states]
    return torch.cat(cells, 1), [(state.shape[1], state.shape[3]) for state in states]


def fill(cache: DynamicCache, cells: Tensor, shapes: Sequence[tuple[int, int]]) -> None:
    """Let an empty cache begin with ``cells [R, L, F]`` as ``cells_of`` gives them."""
    parts = cells.split([heads * size for heads, size in shapes], 2)
    states = [
        part.unflatten(2, shape).transpose(1, 2) for part, shape in zip(parts, shapes, strict=True)
    ]
    for layer, keys, values in zip(cache.layers, states[::2], states[1::2], strict=True):
        layer.update(keys, values)


def _ours(layer: Any) -> Any:
    if type(layer) is DynamicLayer:
        return RoomyLayer()
    if type(layer) is DynamicSlidingWindowLayer:
        return SlidingLayer(layer.sliding_window)
    return layer


def _store(like: Tensor, rows: int, cells: int) -> Tensor:
    """``[rows, H, cells and room, D]``: never memory as it was found, which may hold NaN."""
    _, heads, _, size = like.shape
    return like.new_zeros(rows, heads, cells + max(LEAST_ROOM, int(ROOM * cells)), size)


def _merged(own: Tensor, more: Tensor, places: Tensor, rows: int) -> Tensor:
    _, heads, used, size = own.shape
    cells = max(used, more.shape[2])
    merged = own.new_zeros(rows, heads, cells, size)
    merged[: len(own), :, cells - used :] = own
    merged[places, :, cells - more.shape[2] :] = more
    return merged
