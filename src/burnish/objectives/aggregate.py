"""From per-token losses to one undivided loss, by named rule."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from burnish.objectives.types import check, widened

AggregateKind = Literal["seq_mean", "token_mean", "constant_length"]


def aggregate(
    per_token: Tensor, segment: Tensor, kind: AggregateKind, *, length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Sum per-token losses into (total, count); ``total / count`` over a window is the mean.

    - ``seq_mean``: mean over each sequence's tokens, then over sequences (GRPO, Shao et al.
      2024, arXiv 2402.03300, eq. 3). A token of a long reply weighs less.
    - ``token_mean``: mean over all tokens (DAPO, Yu et al. 2025, arXiv 2503.14476, eq. 8).
    - ``constant_length``: sum over tokens / ``length``, then mean over sequences (Dr. GRPO, Liu
      et al. 2025, arXiv 2503.20783): no bias by length.

    Args:
        per_token: ``[N]``.
        segment: index of each token's sequence, ``[N]`` integer. Sequences without tokens are
            not counted.
        kind: which rule.
        length: tokens that a sequence is divided by; for ``constant_length`` only.

    Returns:
        ``total []`` and ``count []`` (tokens for token_mean, else sequences).

    Raises:
        ValueError: a shape, dtype or parameter is wrong.
    """
    check("N", per_token=per_token)
    check("N", "integer", like=per_token, segment=segment)
    if (kind == "constant_length") != (length is not None and length > 0):
        raise ValueError(f"length: {length} with {kind}; constant_length, and no other, needs one")
    per_token = widened(per_token)
    if kind == "token_mean":
        return per_token.sum(), per_token.new_tensor(per_token.numel())
    lengths = torch.bincount(segment)
    sequences = (lengths > 0).sum().to(per_token.dtype)
    if kind == "seq_mean":
        return (per_token / lengths[segment]).sum(), sequences
    if kind == "constant_length" and length is not None:
        return per_token.sum() / length, sequences
    raise ValueError(f"kind: {kind!r}, expected seq_mean, token_mean or constant_length")
