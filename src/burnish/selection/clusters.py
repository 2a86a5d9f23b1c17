"""Clusters of vectors: balanced samples, duplicates in meaning, coverage and diversity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from burnish.config.optional import needed
from burnish.selection.embed import Vectors
from burnish.selection.shares import divide

Labels = NDArray[np.int64]
Indices = NDArray[np.int64]
Quota = Literal["equal", "sqrt", "proportional"]

BATCH = 4096
ROUNDING = 1e-6
"""The cosine of a float32 row with itself may fall short of 1 by less than this."""
BLOCK = 256
FITTED = 2**17
"""Rows that the centres of clusters are worked out from, where there are more."""
NEIGHBOURS_OF = 1000
"""Rows whose nearest neighbour is looked for, where there are more."""


class Rows(Protocol):
    """Unit rows ``[n, D]``, in memory or not: an index gives some of them in memory."""

    def __len__(self) -> int:
        """``n``."""
        ...

    def __getitem__(self, rows: Indices) -> Vectors:
        """``[rows, D]``."""
        ...


def cluster_count(n: int) -> int:
    """``sqrt(n / 2)`` rounded, at least 1 (a rule of thumb from Mardia et al. 1979).

    A cluster then has about ``sqrt(2 n)`` rows, so that comparing all rows within clusters takes
    ``n^1.5`` comparisons where comparing all takes ``n²``.
    """
    return max(1, round(math.sqrt(n / 2)))


def cluster(vectors: Rows, count: int, seed: int) -> Labels:
    """``[n]``: the cluster of each row of ``vectors [n, D]``, by k-means over mini-batches.

    The same rows in the same order give the same clusters. There are at most ``count`` and at most
    as many as rows; a number that no row has got is possible. The centres are those of the first
    ``FITTED`` rows, so that memory does not grow with more of them: give rows in an order that
    has nothing to do with what they are.

    Raises:
        InputError: scikit-learn is not installed.
    """
    needed("data", "sklearn")
    from sklearn.cluster import MiniBatchKMeans

    if len(vectors) == 0:
        return np.zeros(0, np.int64)
    fitted = vectors[np.arange(min(FITTED, len(vectors)))]
    means = MiniBatchKMeans(
        n_clusters=min(count, len(fitted)), batch_size=BATCH, n_init=10, random_state=seed
    )
    found = [means.fit_predict(fitted)]
    for start in range(len(fitted), len(vectors), BATCH):
        block = vectors[np.arange(start, min(start + BATCH, len(vectors)))]
        found.append(means.predict(block))
    return np.concatenate(found).astype(np.int64)


def quotas(sizes: Mapping[int, int], total: int, rule: Quota) -> dict[int, int]:
    """How many rows each cluster gives to a sample of ``total``, never more than it has.

    ``equal``: as many from each; ``sqrt``: proportional to the square root of its size;
    ``proportional``: to its size. What a small cluster cannot give, the others give by the same
    rule. Rounded by largest remainder, so that the quotas sum to ``total`` or to all there is.
    """
    power = {"equal": 0.0, "sqrt": 0.5, "proportional": 1.0}[rule]
    return divide({name: size**power for name, size in sizes.items()}, total, sizes)


def semantic_duplicates(
    vectors: Rows, labels: Labels, order: Sequence[int] | Indices, threshold: float
) -> dict[int, int]:
    """Rows to leave out, each with the kept row that it repeats.

    Within each cluster rows are gone through in the given ``order``. A row is left out when its
    cosine with a row kept before is ``threshold`` *or more*. Clustering first is SemDeDup's way
    (Abbas et al. 2023, arXiv 2303.09540, section 3): a pair that the clusters part is not found.
    Comparing with kept rows in order of score is Deita's (Liu et al. 2023, arXiv 2312.15685, Repr
    Filter). The released code of SemDeDup removes only *above* the threshold, compares with
    removed rows too, and keeps what lies farthest from the centre of its cluster.

    Args:
        vectors: ``[n, D]`` unit rows; a row of zeros is like no other.
        labels: ``[n]`` clusters.
        order: rows to look at, best first: what comes first is kept.
        threshold: of the cosine.
    """
    ranked = np.asarray(order, np.int64)
    ranked = ranked[np.argsort(labels[ranked], kind="stable")]
    bounds = np.flatnonzero(np.diff(labels[ranked])) + 1
    repeats: dict[int, int] = {}
    for rows in np.split(ranked, bounds):
        repeats |= _repeated(vectors, rows, threshold)
    return repeats


def _repeated(vectors: Rows, rows: Indices, threshold: float) -> dict[int, int]:
    """As ``semantic_duplicates``, of one cluster: blocks are compared with all kept before them."""
    repeats: dict[int, int] = {}
    kept: Vectors | None = None
    places = np.zeros(len(rows), np.int64)
    count = 0
    for start in range(0, len(rows), BLOCK):
        block_rows = rows[start : start + BLOCK]
        block = vectors[block_rows]
        if kept is None:
            kept = np.empty((len(rows), block.shape[1]), np.float32)
        before, inside = block @ kept[:count].T, block @ block.T
        fresh: list[int] = []
        for place, index in enumerate(block_rows.tolist()):
            cosines = np.concatenate([before[place], inside[place, fresh]])
            nearest = int(cosines.argmax()) if len(cosines) else -1
            if nearest >= 0 and cosines[nearest] >= threshold - ROUNDING:
                found = places[nearest] if nearest < count else block_rows[fresh[nearest - count]]
                repeats[index] = int(found)
            else:
                fresh.append(place)
        kept[count : count + len(fresh)] = block[fresh]
        places[count : count + len(fresh)] = block_rows[fresh]
        count += len(fresh)
    return repeats


@dataclass(frozen=True)
class Diversity:
    """How widely some rows are spread.

    ``covered``: clusters with a row, of ``clusters``; ``entropy`` of the rows over the clusters,
    divided by the logarithm of ``clusters``: 1 where all hold as many. Distances are 1 − cosine:
    ``pairwise`` the mean over all pairs, ``nearest`` that of each row (of at most
    ``NEIGHBOURS_OF``, drawn) to the one most like it; 0 says that it is there twice.
    """

    records: int
    clusters: int
    covered: int
    entropy: float
    pairwise: float
    nearest: tuple[float, ...]

    @property
    def mean_nearest(self) -> float:
        """The mean of ``nearest``, 0 where there are fewer than two rows."""
        return sum(self.nearest) / len(self.nearest) if self.nearest else 0.0


def diversity(
    vectors: Rows, labels: Labels, rows: Sequence[int] | Indices, seed: int = 0
) -> Diversity:
    """The spread of ``rows`` over the clusters ``labels [n]`` and among themselves."""
    chosen = np.asarray(rows, np.int64)
    clusters = len(np.unique(labels))
    counts = np.bincount(labels[chosen]) if len(chosen) else np.zeros(1)
    shares = counts[counts > 0] / max(1, len(chosen))
    entropy = float(-(shares * np.log(shares)).sum()) / math.log(clusters) if clusters > 1 else 0.0
    pairwise, nearest = _distances(vectors, chosen, seed)
    return Diversity(
        records=len(chosen),
        clusters=clusters,
        covered=int((counts > 0).sum()),
        entropy=abs(entropy),
        pairwise=pairwise,
        nearest=nearest,
    )


def _distances(vectors: Rows, rows: Indices, seed: int) -> tuple[float, tuple[float, ...]]:
    """Mean of 1 − cosine over all pairs, and of some rows to the one most like each.

    The sum of the products of all pairs is the squared sum of the rows.
    """
    count = len(rows)
    if count < 2:
        return 0.0, ()
    drawn = np.random.default_rng(seed).permutation(count)[:NEIGHBOURS_OF]
    looked_at = vectors[rows[drawn]]
    best = np.full(len(drawn), -1.0, np.float32)
    total, squares = np.zeros(looked_at.shape[1]), 0.0
    for start in range(0, count, BATCH):
        block = vectors[rows[start : start + BATCH]]
        wide = block.astype(np.float64)
        total += wide.sum(axis=0)
        squares += float((wide**2).sum())
        cosines = looked_at @ block.T
        inside = (drawn >= start) & (drawn < start + BATCH)
        cosines[inside, drawn[inside] - start] = -1.0
        best = np.maximum(best, cosines.max(axis=1))
    products = float((total**2).sum()) - squares
    return 1 - products / (count * (count - 1)), tuple(np.maximum(0.0, 1 - best).tolist())
