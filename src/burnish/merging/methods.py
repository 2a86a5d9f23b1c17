"""What is made of tensors that have one name in several models. Pure functions of float tensors.

A task vector (Ilharco et al. 2023, arXiv 2212.04089) is what a model has learnt: its weights less
those of the model it was trained from. Methods over task vectors differ in three choices, and
``FORMS`` names the published ones: which elements are kept, whether parents vote on each
element's sign, and whether the sum is divided by the weights that went into it.

Shapes: ``[R, C]`` are rows of a weight matrix; chance ``[R, C]`` are uniform numbers in [0, 1),
handed in, so that the functions draw nothing themselves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Keep = Literal["all", "largest", "random", "ranked"]
NEARLY_PARALLEL = 0.9995
"""Cosines above it (or below its negative) are interpolated along the straight line."""
_HALF = 16


@dataclass(frozen=True)
class Form:
    """A method over task vectors as its three choices."""

    keep: Keep
    elect: bool
    normalize: bool


FORMS = {
    "task_arithmetic": Form("all", elect=False, normalize=False),
    "ties": Form("largest", elect=True, normalize=True),
    "dare_linear": Form("random", elect=False, normalize=False),
    "dare_ties": Form("random", elect=True, normalize=False),
    "della_linear": Form("ranked", elect=False, normalize=False),
    "della": Form("ranked", elect=True, normalize=True),
}
"""TIES: Yadav et al. 2023, arXiv 2306.01708. DARE: Yu et al. 2023, arXiv 2311.03099. DELLA: Deep et
al. 2024, arXiv 2406.11617."""


def linear(tensors: Sequence[Tensor], weights: Sequence[float], normalize: bool) -> Tensor:
    """The weighted sum, or with ``normalize`` the weighted mean (Wortsman et al. 2022)."""
    total = torch.zeros_like(tensors[0])
    for tensor, weight in zip(tensors, weights, strict=True):
        total.add_(tensor, alpha=weight)
    return total.div_(sum(weights)) if normalize else total


def slerp_shares(cosine: float, at: float) -> tuple[float, float]:
    """The shares of both ends on the arc between them, ``at`` 0 the first and 1 the second.

    Shoemake 1985, section 3.3: sin((1 - t) w) / sin w and sin(t w) / sin w. Where the ends are
    nearly parallel or opposite, which leaves the arc undefined, the shares of the straight line.
    """
    if not abs(cosine) <= NEARLY_PARALLEL:
        return 1 - at, at
    angle = math.acos(cosine)
    return math.sin((1 - at) * angle) / math.sin(angle), math.sin(at * angle) / math.sin(angle)


@dataclass(frozen=True)
class Cut:
    """The smallest magnitude that is kept, and how many of exactly that magnitude are."""

    magnitude: float
    ties: int


def find_cut(pieces: Callable[[], Iterable[Tensor]], size: int, density: float) -> Cut:
    """Where the largest ``density`` of ``size`` elements begin, one at least.

    Magnitudes are compared as float32, whose bits order positive numbers: a count of the upper
    halves of all bits and one of the lower halves inside the half that matters give the exact
    element, in two passes and the memory of one piece. ``pieces`` gives the tensor each time.
    """
    wanted = max(1, int(density * size))
    upper = torch.zeros(1 << (_HALF - 1), dtype=torch.int64)
    for piece in pieces():
        upper += torch.bincount(_bits(piece) >> _HALF, minlength=len(upper))
    half, wanted = _reached(upper, wanted)
    lower = torch.zeros(1 << _HALF, dtype=torch.int64)
    for piece in pieces():
        bits = _bits(piece)
        inside = bits[bits >> _HALF == half] & ((1 << _HALF) - 1)
        lower += torch.bincount(inside, minlength=len(lower))
    rest, ties = _reached(lower, wanted)
    found = torch.tensor([half << _HALF | rest], dtype=torch.int32).view(torch.float32)
    return Cut(found.item(), ties)


def _bits(piece: Tensor) -> Tensor:
    return piece.abs().float().contiguous().view(torch.int32).view(-1)


def _reached(counts: Tensor, wanted: int) -> tuple[int, int]:
    """The bin in which ``wanted`` is reached counting from the last, and how many are left then."""
    sums = counts.flip(0).cumsum(0)
    place = int(torch.searchsorted(sums, wanted))
    before = int(sums[place - 1]) if place else 0
    return len(counts) - 1 - place, wanted - before


def keep_largest(delta: Tensor, cut: Cut) -> tuple[Tensor, Cut]:
    """Elements above the cut and the first of those on it; and the cut for what follows."""
    magnitude = delta.abs().float()
    on = magnitude == cut.magnitude
    ties = int(on.sum())
    if ties <= cut.ties:
        kept = magnitude >= cut.magnitude
    else:
        first = on.view(-1).cumsum(0).view(on.shape) <= cut.ties
        kept = (magnitude > cut.magnitude) | (on & first)
    return delta * kept, Cut(cut.magnitude, max(0, cut.ties - ties))


def keep_random(delta: Tensor, density: float, chance: Tensor, rescale: bool) -> Tensor:
    """Each element with probability ``density`` (DARE, equation 2 with p = 1 - density).

    With ``rescale`` what is kept is divided by that, so that the expectation is the element.
    """
    kept = delta * (chance < density)
    return kept / density if rescale else kept


def keep_ranked(
    delta: Tensor, density: float, spread: float, chance: Tensor, rescale: bool
) -> Tensor:
    """Each element with a probability that rises with its magnitude's rank in its row.

    DELLA's MagPrune: from ``density - spread`` for the smallest to ``density + spread`` for the
    largest, evenly. With ``rescale`` each element that is kept is divided by its own probability.
    """
    columns = delta.shape[-1]
    ranks = delta.abs().argsort(dim=-1, stable=True).argsort(dim=-1).to(delta.dtype)
    even = ranks / (columns - 1) if columns > 1 else torch.full_like(ranks, 0.5)
    probability = density - spread + 2 * spread * even
    kept = delta * (chance < probability)
    return kept / probability if rescale else kept


def combine(
    deltas: Sequence[Tensor], weights: Sequence[float], elect: bool, normalize: bool
) -> Tensor:
    """The weighted sum of task vectors ``[R, C]``.

    With ``elect`` an element's sign is that of the weighted sum, positive where it is zero, and
    those of the other sign are left out (TIES, steps 2 and 3). With ``normalize`` the sum is
    divided by the weights of what went into it; where those are zero it stays.
    """
    scaled = [delta * weight for delta, weight in zip(deltas, weights, strict=True)]
    if not elect:
        total = torch.stack(scaled).sum(0)
        whole = sum(weights)
        return total / whole if normalize and abs(whole) > 1e-8 else total
    sign = torch.where(torch.stack(scaled).sum(0) >= 0, 1.0, -1.0).to(scaled[0].dtype)
    agree = [part.sign() == sign for part in scaled]
    total = torch.stack([part * kept for part, kept in zip(scaled, agree, strict=True)]).sum(0)
    if not normalize:
        return total
    whole_of = torch.stack([kept * weight for kept, weight in zip(agree, weights, strict=True)])
    divisor = whole_of.sum(0).to(total.dtype)
    return total / torch.where(divisor == 0, 1.0, divisor)
