"""Whole numbers in given proportions, the one place where a total is divided up."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)


def divide(
    weights: Mapping[K, float], total: int, limits: Mapping[K, int] | None = None
) -> dict[K, int]:
    """Parts of ``total`` proportional to ``weights``, none above its limit.

    What a part at its limit cannot take is divided among the others in their own proportion.
    Rounded by largest remainder, ties by name, so that the parts sum to ``total``, or to all
    limits together where these are less.

    Raises:
        ValueError: a weight is negative.
    """
    if any(weight < 0 for weight in weights.values()):
        raise ValueError(f"weights must not be negative, found {min(weights.values())}")
    open_ = {name: weight for name, weight in weights.items() if weight > 0}
    parts: dict[K, int] = dict.fromkeys(weights, 0)
    rest = total
    while open_:
        scale = rest / sum(open_.values())
        exact = {name: weight * scale for name, weight in open_.items()}
        full = [name for name in open_ if limits is not None and exact[name] >= limits[name]]
        if not full:
            parts |= _rounded(exact, rest)
            break
        for name in full:
            assert limits is not None
            parts[name] = limits[name]
            rest -= limits[name]
            del open_[name]
    return parts


def _rounded(exact: Mapping[K, float], total: int) -> dict[K, int]:
    # 70.00000000000001 is 70, and so is 69.99999999999999.
    parts = {name: int(value + 1e-9) for name, value in exact.items()}

    def rank(name: K) -> tuple[float, Any]:
        return round(parts[name] - exact[name], 9), name

    for name in sorted(exact, key=rank)[: total - sum(parts.values())]:
        parts[name] += 1
    return parts
