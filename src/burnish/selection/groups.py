"""Rows in groups and their order inside them, for any number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def places(groups: Indices, *keys: NDArray[Any]) -> Indices:
    """``[n]``: how many rows of its own group come before each row.

    Rows are ordered by the first of ``keys [n]``, then by the next, and at last by their number.
    """
    order = np.lexsort((*reversed(keys), groups))
    sorted_ = groups[order]
    begins = np.flatnonzero(np.concatenate([[True], sorted_[1:] != sorted_[:-1]])[: len(order)])
    sizes = np.diff(np.append(begins, len(order)))
    found = np.empty(len(order), np.int64)
    found[order] = np.arange(len(order)) - np.repeat(begins, sizes)
    return found


def firsts(groups: Indices, *keys: NDArray[Any]) -> Indices:
    """``[n]``: the number of the row that comes first in each row's group, ordered as by
    ``places``."""
    best = np.flatnonzero(places(groups, *keys) == 0)
    _, codes = np.unique(groups, return_inverse=True)
    of_group = np.empty(len(best), np.int64)
    of_group[codes[best]] = best
    found: Indices = of_group[codes]
    return found
