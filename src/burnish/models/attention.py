"""Attention over packed tokens with exact isolation of the segments.

One attention implementation, ``burnish_packed``, is registered with transformers. Given a
``Packing`` (as the keyword ``packing``, which models hand down to their layers), it gathers the
segments of ``[1, H, T, Dh]`` into grids of similar length and attends inside each row; padding
stands on the right, where causal attention never looks. Segments that go on from a beginning they
share with others get its keys and values to the left of their own. Without a ``Packing``
(generation, a plain ``model(...)``) it is transformers' own sdpa attention.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from burnish.models.packing import Copies, Grid, Grids, Packing

NAME = "burnish_packed"
_ISOLATED_LAYERS = {"full_attention", "sliding_attention"}


class _ToCells(torch.autograd.Function):
    """``[T, ...] -> [C, ...]``; every token stands in one cell, so backward is a gather too."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, grids: Grids) -> Tensor:
        ctx.grids = grids
        return packed.index_select(0, grids.gather)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0].index_select(0, ctx.grids.scatter), None


class _FromCells(torch.autograd.Function):
    """``[C, ...] -> [T, ...]``: drops the padding; its gradient is zero."""

    @staticmethod
    def forward(ctx: Any, cells: Tensor, grids: Grids) -> Tensor:
        ctx.grids = grids
        return cells.index_select(0, grids.scatter)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        grids: Grids = ctx.grids
        whole = grads[0].new_zeros((len(grids.gather), *grads[0].shape[1:]))
        return whole.index_copy_(0, grids.scatter, grads[0]), None


class _Copy(torch.autograd.Function):
    """``[T, ...] -> [K, ...]`` where a token may stand in many cells: backward sums over them."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, copies: Copies) -> Tensor:
        ctx.copies = copies
        return packed.index_select(0, copies.gather)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        copies: Copies = ctx.copies
        # A sum over bags: in a fixed order, and seven times as fast as index_add on a CPU.
        sums = F.embedding_bag(copies.cells, grads[0].flatten(1), copies.offsets, mode="sum")
        return sums.unflatten(1, grads[0].shape[1:]), None


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
    return _attend_grids(*packed, packing, scale, window, kwargs.get("dropout", 0.0))[None], None


def _attend_varlen(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, scale: float | None,
    window: int | None,
) -> Tensor:  # fmt: skip
    """The variable-length flash kernel, which needs no grids: ``[T, H, Dh]``.

    Where keys are more than queries it lines up their ends, as shared beginnings need it.
    """
    rows = packing.rows
    if rows.copies is not None:
        key, value = (_Copy.apply(x, rows.copies) for x in (key, value))  # type: ignore[no-untyped-call]
    out: Tensor = varlen_attn(  # type: ignore[assignment]
        query, key, value, rows.queries, rows.keys, *rows.longest,
        scale=scale, window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )  # fmt: skip
    return out


def _attend_grids(
    query: Tensor, key: Tensor, value: Tensor, packing: Packing, scale: float | None,
    window: int | None, dropout: float,
) -> Tensor:  # fmt: skip
    """Grid after grid with any kernel: ``[T, H, Dh]``."""
    plan = packing.grids
    move: Any = _ToCells.apply if plan.keys is None else _Copy.apply
    query = _ToCells.apply(query, plan)  # type: ignore[no-untyped-call]
    key, value = (move(x, plan if plan.keys is None else plan.keys) for x in (key, value))
    cells = [grid.rows * grid.columns for grid in plan.grids]
    keys = [grid.rows * (grid.past + grid.columns) for grid in plan.grids]
    parts = [
        _attend(q, k, v, grid, packing.mask(number, window), scale, dropout)
        for number, (q, k, v, grid) in enumerate(
            zip(query.split(cells), key.split(keys), value.split(keys), plan.grids, strict=True)
        )
    ]
    whole = torch.cat(parts) if len(parts) > 1 else parts[0]
    out: Tensor = _FromCells.apply(whole, plan)  # type: ignore[no-untyped-call]
    return out


def _attend(
    query: Tensor, key: Tensor, value: Tensor, grid: Grid, mask: Tensor | None,
    scale: float | None, dropout: float,
) -> Tensor:  # fmt: skip
    """Attention inside the rows of one grid: ``[R*L, H, Dh]``."""
    q = query.unflatten(0, (grid.rows, grid.columns)).transpose(1, 2)
    k, v = (
        x.unflatten(0, (grid.rows, grid.past + grid.columns)).transpose(1, 2) for x in (key, value)
    )
    cells = F.scaled_dot_product_attention(
        q, k, v, attn_mask=None if mask is None else mask.to(q.dtype), is_causal=mask is None,
        scale=scale, dropout_p=dropout, enable_gqa=query.shape[1] != key.shape[1],
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
