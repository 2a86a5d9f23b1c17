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
class Packing:
    """How ``T`` packed tokens divide into segments; made once a forward pass by ``packing``.

    The grids stand one after another and have ``C`` cells together. ``shapes``: rows and columns
    of each grid; ``gather [C]``: the packed place that fills each cell (0 for padding);
    ``scatter [T]``: the cell of each packed token; ``offsets [S+1]`` int32: where segments start.
    """

    shapes: tuple[tuple[int, int], ...]
    gather: Tensor
    scatter: Tensor
    offsets: Tensor
    longest: int


def packing(lengths: Sequence[int], device: torch.device) -> Packing:
    """Plan the grids for segments of these lengths, laid end to end."""
    sizes = np.asarray(lengths)
    starts = np.cumsum(sizes) - sizes
    shapes: list[tuple[int, int]] = []
    gathers: list[np.ndarray[Any, Any]] = []
    scatter = np.empty(int(sizes.sum()), dtype=np.int64)
    done = 0
    for rows in _buckets(sizes):
        columns = np.arange(sizes[rows].max())
        places = (starts[rows][:, None] + columns[None]).ravel()
        cells = (columns[None] < sizes[rows][:, None]).ravel()
        scatter[places[cells]] = done + cells.nonzero()[0]
        gathers.append(np.where(cells, places, 0))
        shapes.append((len(rows), len(columns)))
        done += len(cells)
    offsets = np.append(starts, sizes.sum()).astype(np.int32)
    gather, places, edges = (
        torch.from_numpy(index).to(device) for index in (np.concatenate(gathers), scatter, offsets)
    )
    return Packing(tuple(shapes), gather, places, edges, int(sizes.max()))


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


class _ToCells(torch.autograd.Function):
    """``[T, ...] -> [C, ...]``; every token stands in one cell, so backward is a gather too."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return packed.index_select(0, packing.gather)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].index_select(0, ctx.packing.scatter), None


class _FromCells(torch.autograd.Function):
    """``[C, ...] -> [T, ...]``: drops the padding; its gradient is zero."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, packing: Packing) -> Tensor:
        ctx.packing = packing
        return cells.index_select(0, packing.scatter)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        packing: Packing = ctx.packing
        whole = grads[0].new_zeros((len(packing.gather), *grads[0].shape[1:]))
        return whole.index_copy_(0, packing.scatter, grads[0]), None


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
    packed = (query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1))
    if query.is_cuda and query.dtype in (torch.float16, torch.bfloat16):
        return _attend_varlen(*packed, packing, scale, window)[None], None
    sizes = [rows * columns for rows, columns in packing.shapes]
    query, key, value = (
        _ToCells.apply(x, packing)  # type: ignore[no-untyped-call]
        for x in packed
    )
    dropout = kwargs.get("dropout", 0.0)
    parts = [
        _attend(q, k, v, shape, scale, window, dropout)
        for q, k, v, shape in zip(
            query.split(sizes), key.split(sizes), value.split(sizes), packing.shapes, strict=True
        )
    ]
    cells = torch.cat(parts) if len(parts) > 1 else parts[0]
    out: Tensor = _FromCells.apply(cells, packing)  # type: ignore[no-untyped-call]
    return out[None], None


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, scale: float | None,
    window: int | None,
) -> Tensor:  # fmt: skip
    """The same by the variable-length flash kernel, which needs no grids: ``[T, H, Dh]``."""
    out: Tensor = varlen_attn(  # type: ignore[assignment]
        query, key, value, packing.offsets, packing.offsets, packing.longest, packing.longest,
        scale=scale, window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return out


def _attend(
    query: Tensor, key: Tensor, value: Tensor, shape: tuple[int, int], scale: float | None,
    window: int | None, dropout: float,
) -> Tensor:  # fmt: skip
    """Causal attention inside the rows of one grid: three ``[R*L, H, Dh]`` -> ``[R*L, H, Dh]``."""
    columns = shape[1]
    q, k, v = (x.unflatten(0, shape).transpose(1, 2) for x in (query, key, value))
    mask = None
    if window is not None and columns > window:
        ones = torch.ones(columns, columns, dtype=torch.bool, device=query.device)
        mask = ones.tril().triu(1 - window)
    cells = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, is_causal=mask is None, scale=scale, dropout_p=dropout,
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return cells.transpose(1, 2).flatten(0, 1)


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
