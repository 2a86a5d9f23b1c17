"""Clusters of vectors: balanced samples, duplicates in meaning, coverage and diversity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from burnish.config.optional import needed
from burnish.selection.embed import Vectors
from burnish.selection.shares import divide

Labels = NDArray[np.int64]
Quota = Literal["equal", "sqrt", "proportional"]

BATCH = 4096
ROUNDING = 1e-6
"""The cosine of a float32 row with itself may fall short of 1 by less than this."""
NEIGHBOURS_OF = 1000
"""Rows whose nearest neighbour is looked for, where there are more."""


def cluster_count(n: int) -> int:
    """``sqrt(n / 2)`` rounded, at least 1 (a rule of thumb from Mardia et al. 1979).

    A cluster then has about ``sqrt(2 n)`` rows, so that comparing all rows within clusters takes
    ``n^1.5`` comparisons where comparing all takes ``n²``.
    """
    return max(1, round(math.sqrt(n / 2)))


def cluster(vectors: Vectors, count: int, seed: int) -> Labels:
    """``[n]``: the cluster of each row of ``vectors [n, D]``, by k-means over mini-batches.

    The same rows in the same order give the same clusters. There are at most ``count`` and at most
    as many as rows; a number that no row has got is possible.

    Raises:
        InputError: scikit-learn is not installed.
    """
    needed("data", "sklearn")
    from sklearn.cluster import MiniBatchKMeans

    if len(vectors) == 0:
        return np.zeros(0, np.int64)
    found = MiniBatchKMeans(
        n_clusters=min(count, len(vectors)), batch_size=BATCH, n_init=10, random_state=seed
    ).fit_predict(vectors)
    return np.asarray(found, dtype=np.int64)


def quotas(sizes: Mapping[int, int], total: int, rule: Quota) -> dict[int, int]:
    """How many rows each cluster gives to a sample of ``total``, never more than it has.

    ``equal``: as many from each; ``sqrt``: proportional to the square root of its size;
    ``proportional``: to its size. What a small cluster cannot give, the others give by the same
    rule. Rounded by largest remainder, so that the quotas sum to ``total`` or to all there is.
    """
    power = {"equal": 0.0, "sqrt": 0.5, "proportional": 1.0}[rule]
    return divide({name: size**power for name, size in sizes.items()}, total, sizes)


def semantic_duplicates(
    vectors: Vectors, labels: Labels, order: Sequence[int], threshold: float
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
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(int(labels[index]), []).append(index)
    repeats: dict[int, int] = {}
    for rows in members.values():
        kept = np.empty((len(rows), vectors.shape[1]), np.float32)
        places: list[int] = []
        for index in rows:
            cosines = kept[: len(places)] @ vectors[index]
            nearest = int(cosines.argmax()) if places else -1
            if places and cosines[nearest] >= threshold - ROUNDING:
                repeats[index] = places[nearest]
                continue
            kept[len(places)] = vectors[index]
            places.append(index)
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


def diversity(vectors: Vectors, labels: Labels, rows: Sequence[int], seed: int = 0) -> Diversity:
    """The spread of ``rows`` over the clusters ``labels [n]`` and among themselves."""
    chosen = vectors[list(rows)]
    clusters = len(np.unique(labels))
    counts = np.bincount(labels[list(rows)]) if len(rows) else np.zeros(1)
    shares = counts[counts > 0] / max(1, len(rows))
    entropy = float(-(shares * np.log(shares)).sum()) / math.log(clusters) if clusters > 1 else 0.0
    return Diversity(
        records=len(rows),
        clusters=clusters,
        covered=int((counts > 0).sum()),
        entropy=abs(entropy),
        pairwise=_pairwise(chosen),
        nearest=_nearest(chosen, seed),
    )


def _pairwise(rows: Vectors) -> float:
    """Mean of 1 − cosine over all pairs: the sum of all products is the squared sum of rows."""
    count = len(rows)
    if count < 2:
        return 0.0
    wide = rows.astype(np.float64)
    products = float((wide.sum(axis=0) ** 2).sum() - (wide**2).sum())
    return 1 - products / (count * (count - 1))


def _nearest(rows: Vectors, seed: int) -> tuple[float, ...]:
    if len(rows) < 2:
        return ()
    random = np.random.default_rng(seed)
    drawn = random.permutation(len(rows))[:NEIGHBOURS_OF]
    best = np.full(len(drawn), -1.0, np.float32)
    for start in range(0, len(rows), BATCH):
        cosines = rows[drawn] @ rows[start : start + BATCH].T
        inside = (drawn >= start) & (drawn < start + BATCH)
        cosines[inside, drawn[inside] - start] = -1.0
        best = np.maximum(best, cosines.max(axis=1))
    return tuple(np.maximum(0.0, 1 - best).tolist())
