"""A key-value cache for rows that grow token by token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

LEAST_ROOM = 32
ROOM = 0.25
"""Free cells behind those in use when memory is taken: this share of them, and at least so many."""


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer that writes new cells into free room, where its base copies all for every token.

    ``keys`` and ``values`` show the cells in use, every one of them written; the room behind them
    is never read. Only ``update`` and ``batch_select_indices`` may change the layer.
    """

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add cells ``[R, H, L, D]``; returns all keys and values."""
        new = (key_states, value_states)
        used = self.get_seq_length()
        cells = used + key_states.shape[2]
        if not used:
            self.lazy_initialization(key_states, value_states)
            self.stores = [_store(state, cells) for state in new]
        elif cells > self.stores[0].shape[2]:
            self.stores = [_store(state, cells) for state in new]
            for store, old in zip(self.stores, (self.keys, self.values), strict=True):
                store[:, :, :used] = old
        for store, state in zip(self.stores, new, strict=True):
            store[:, :, used:cells] = state
        self._show(cells)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows ``[R]``, in this order; a row may be taken several times."""
        if used := self.get_seq_length():
            self.stores = [store[indices] for store in self.stores]
            self._show(used)

    def _show(self, cells: int) -> None:
        self.keys, self.values = (store[:, :, :cells] for store in self.stores)


def new_cache(config: Any) -> DynamicCache:
    """An empty cache for a model of this config; layers of other kinds stay as they are."""
    cache = DynamicCache(config=config)
    cache.layers = [
        RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def _store(like: Tensor, cells: int) -> Tensor:
    """``[R, H, cells and room, D]``: never memory as it was found, which may hold NaN."""
    rows, heads, _, size = like.shape
    return like.new_zeros(rows, heads, cells + max(LEAST_ROOM, int(ROOM * cells)), size)
