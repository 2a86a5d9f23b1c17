"""Attention over packed tokens with exact isolation of the segments.

One attention implementation, ``burnish_packed``, is registered with transformers. Given a
``Packing`` (as the keyword ``packing``, which models hand down to their layers), it gathers the
segments of ``[1, H, T, Dh]`` into grids of similar length and attends inside each row; padding
stands on the right, where causal attention never looks. Without a ``Packing`` (generation, a plain
``model(...)``) it is transformers' own sdpa attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "burnish_packed"
SLACK = 8
"""A grid row may be this many tokens, or a quarter, longer than its segment."""

_ISOLATED_LAYERS = {"full_attention", "sliding_attention"}


@dataclass(frozen=True)
class Grid:
    """Segments of similar length as rows of one grid of ``R`` rows and ``L`` columns.

    ``gather [R*L]``: the packed place of each cell (0 for padding), ``scatter [t]``: the cell of
    each of the grid's tokens, ``tokens [t]``: their packed places, ``padding [p]``: empty cells.
    """

    rows: int
    columns: int
    gather: Tensor
    scatter: Tensor
    tokens: Tensor
    padding: Tensor


@dataclass(frozen=True)
class Packing:
    """How ``T`` packed tokens divide into segments; made once a forward pass by ``packing``.

    ``order [T]``: for each packed token its place in the concatenation of all grids' tokens,
    ``None`` where that is the identity. ``offsets [S+1]`` int32: where segments start.
    """

    grids: tuple[Grid, ...]
    order: Tensor | None
    offsets: Tensor
    longest: int


def packing(lengths: Sequence[int], device: torch.device) -> Packing:
    """Plan the grids for segments of these lengths, laid end to end."""
    sizes = np.asarray(lengths)
    starts = np.cumsum(sizes) - sizes
    grids = tuple(_grid(rows, sizes, starts, device) for rows in _buckets(sizes))
    order = None
    if len(grids) > 1:
        places = torch.cat([grid.tokens for grid in grids])
        order = torch.empty_like(places)
        order[places] = torch.arange(len(places), device=device)
    offsets = torch.from_numpy(np.append(starts, sizes.sum()).astype(np.int32)).to(device)
    return Packing(grids, order, offsets, int(sizes.max()))


def _buckets(sizes: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    if sizes.max() <= sizes.min() + max(SLACK, sizes.max() // 4):
        return [np.arange(len(sizes))]
    order = np.argsort(-sizes, kind="stable")
    buckets: list[list[int]] = []
    longest = 0
    for row in order.tolist():
        if not buckets or sizes[row] < longest - max(SLACK, longest // 4):
            buckets.append([])
            longest = int(sizes[row])
        buckets[-1].append(row)
    return [np.sort(np.asarray(bucket)) for bucket in buckets]


def _grid(
    rows: np.ndarray[Any, Any],
    sizes: np.ndarray[Any, Any],
    starts: np.ndarray[Any, Any],
    device: torch.device,
) -> Grid:
    columns = int(sizes[rows].max())
    column = np.arange(columns)
    real = (column[None] < sizes[rows][:, None]).ravel()
    cells = (starts[rows][:, None] + column[None]).ravel()
    index = [np.where(real, cells, 0), real.nonzero()[0], cells[real], (~real).nonzero()[0]]
    gather, scatter, tokens, padding = (torch.from_numpy(i).to(device) for i in index)
    return Grid(len(rows), columns, gather, scatter, tokens, padding)


class _ToGrid(torch.autograd.Function):
    """``[T, ...] -> [R*L, ...]``; every token stands in one cell, so backward is a gather too."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, grid: Grid, total: int) -> Tensor:
        ctx.grid, ctx.total = grid, total
        return packed.index_select(0, grid.gather)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grid: Grid = ctx.grid
        kept = grads[0].index_select(0, grid.scatter)
        if len(grid.tokens) == ctx.total:
            return kept, None, None
        whole = kept.new_zeros((ctx.total, *kept.shape[1:]))
        return whole.index_copy_(0, grid.tokens, kept), None, None


class _FromGrid(torch.autograd.Function):
    """``[R*L, ...] -> [t, ...]``: drops the padding; its gradient is zero."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, grid: Grid) -> Tensor:
        ctx.grid, ctx.cells = grid, len(cells)
        return cells.index_select(0, grid.scatter)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grid: Grid = ctx.grid
        whole = grads[0].new_zeros((ctx.cells, *grads[0].shape[1:]))
        return whole.index_copy_(0, grid.scatter, grads[0]), None


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packing: Packing | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The implementation registered as ``burnish_packed``.

    Args:
        query: ``[1, H, T, Dh]``; ``key``, ``value``: ``[1, K, T, Dh]`` with ``H`` a multiple of
            ``K``. Without ``packing`` any shapes that sdpa attention takes.

    Returns:
        ``[1, T, H, Dh]`` and None, as transformers expects.
    """
    if packing is None:
        result: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **kwargs
        )
        return result
    scale, window = kwargs.get("scaling"), kwargs.get("sliding_window")
    packed = [x[0].transpose(0, 1) for x in (query, key, value)]
    if query.is_cuda and query.dtype in (torch.float16, torch.bfloat16):
        left = -1 if window is None else window - 1
        ends, longest = packing.offsets, packing.longest
        out = varlen_attn(
            *packed, ends, ends, longest, longest,
            scale=scale, window_size=(left, 0), enable_gqa=query.shape[1] != key.shape[1],
        )  # fmt: skip
        return out[None], None
    parts = [
        _attend(packed, grid, scale, window, kwargs.get("dropout", 0.0)) for grid in packing.grids
    ]
    out = torch.cat(parts) if len(parts) > 1 else parts[0]
    if packing.order is not None:
        out = out.index_select(0, packing.order)
    return out[None], None


def _attend(
    packed: list[Tensor], grid: Grid, scale: float | None, window: int | None, dropout: float
) -> Tensor:
    """Causal attention inside the rows of one grid: three ``[T, H, Dh]`` -> ``[t, H, Dh]``."""
    query, key, value = (
        _ToGrid.apply(x, grid, len(x)).unflatten(0, (grid.rows, grid.columns)).transpose(1, 2)
        for x in packed
    )
    mask = None
    if window is not None and grid.columns > window:
        ones = torch.ones(grid.columns, grid.columns, dtype=torch.bool, device=query.device)
        mask = ones.tril().triu(1 - window)
    cells = F.scaled_dot_product_attention(
        query, key, value,
        attn_mask=mask, is_causal=mask is None, scale=scale, dropout_p=dropout,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    kept: Tensor = _FromGrid.apply(cells.transpose(1, 2).flatten(0, 1), grid)
    return kept


def packs(model: PreTrainedModel) -> bool:
    """Tell whether ``model`` can run packed; switches its attention to ``burnish_packed`` if so.

    A model qualifies when it uses transformers' attention interface, all its layers are full or
    sliding-window attention and nothing in them (soft-capped scores) needs another kernel.
    Others run on padded rows, see ``forward.hidden``.
    """
    config = model.config.get_text_config()
    if config._attn_implementation == NAME:
        return True
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    fits = (
        bool(getattr(model, "_supports_attention_backend", False))
        and not model.config.is_encoder_decoder
        and getattr(config, "attn_logit_softcapping", None) is None
        and getattr(config, "attention_chunk_size", None) is None
        and kinds <= _ISOLATED_LAYERS
    )
    if fits:
        model.set_attn_implementation(NAME)
    return fits


AttentionInterface.register(NAME, packed_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
