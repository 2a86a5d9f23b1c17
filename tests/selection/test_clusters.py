from __future__ import annotations

import math

import numpy as np
import pytest

from burnish.selection.clusters import (
    Labels,
    cluster,
    cluster_count,
    diversity,
    quotas,
    semantic_duplicates,
)
from burnish.selection.embed import Vectors


def rows(*degrees: float) -> Vectors:
    """Unit rows in the plane at these angles."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def labels(*names: int) -> Labels:
    return np.array(names, dtype=np.int64)


def test_the_number_of_clusters() -> None:
    assert [cluster_count(n) for n in (0, 1, 2, 8, 200, 20_000)] == [1, 1, 1, 2, 10, 100]


def test_heaps_are_found_and_the_same_input_gives_the_same_clusters() -> None:
    random = np.random.default_rng(0)
    angles = [centre + random.normal(0, 2) for centre in (0, 120, 240) for _ in range(40)]
    found = cluster(rows(*angles), 3, seed=0)
    heaps = [set(found[start : start + 40].tolist()) for start in (0, 40, 80)]
    assert sorted(map(len, heaps)) == [1, 1, 1]
    assert len(set.union(*heaps)) == 3
    assert (cluster(rows(*angles), 3, seed=0) == found).all()
    assert len(cluster(rows(), 3, seed=0)) == 0
    assert len(set(cluster(rows(0, 90), 5, seed=0).tolist())) == 2


def test_quotas() -> None:
    sizes = {0: 100, 1: 25, 2: 4}
    assert quotas(sizes, 9, "equal") == {0: 3, 1: 3, 2: 3}
    # 10 : 5 : 2
    assert quotas(sizes, 34, "sqrt") == {0: 20, 1: 10, 2: 4}
    assert quotas(sizes, 129, "proportional") == sizes
    # the smallest has 4 only: the other 26 are shared by the other two
    assert quotas(sizes, 30, "equal") == {0: 13, 1: 13, 2: 4}
    assert quotas(sizes, 500, "equal") == sizes


def test_c41_the_threshold_is_inclusive() -> None:
    """C-41: rows at a cosine of exactly the threshold are duplicates; just below they are not."""
    vectors = np.array([[1, 0], [0.5, math.sqrt(0.75)]], dtype=np.float32)
    assert vectors[0] @ vectors[1] == 0.5
    same = labels(0, 0)
    assert semantic_duplicates(vectors, same, [0, 1], 0.5) == {1: 0}
    assert semantic_duplicates(vectors, same, [0, 1], 0.5001) == {}
    # a row is like itself, though its float32 product may be a little under 1
    twice = rows(17, 17)
    assert semantic_duplicates(twice, same, [0, 1], 1.0) == {1: 0}


def test_c41_rows_are_compared_with_kept_ones_only_and_the_first_stays() -> None:
    """C-41: at 0, 20 and 40 degrees with a threshold of 25, 40 is near 20 but not near 0."""
    vectors, same = rows(0, 20, 40), labels(0, 0, 0)
    threshold = math.cos(math.radians(25))
    assert semantic_duplicates(vectors, same, [0, 1, 2], threshold) == {1: 0}
    assert semantic_duplicates(vectors, same, [1, 0, 2], threshold) == {0: 1, 2: 1}
    assert semantic_duplicates(vectors, same, [2, 1], threshold) == {1: 2}


def test_duplicates_are_looked_for_within_clusters_and_zero_rows_are_like_nothing() -> None:
    vectors = rows(0, 0)
    assert semantic_duplicates(vectors, labels(0, 1), [0, 1], 0.9) == {}
    nothing = np.zeros((2, 2), np.float32)
    assert semantic_duplicates(nothing, labels(0, 0), [0, 1], 0.1) == {}


def test_diversity_by_hand() -> None:
    vectors = rows(0, 0, 90, 180)
    found = diversity(vectors, labels(0, 0, 1, 2), [0, 1, 2, 3])
    assert (found.records, found.clusters, found.covered) == (4, 3, 3)
    # shares 1/2, 1/4, 1/4: 1.5 ln 2 of ln 3
    assert found.entropy == pytest.approx(1.5 * math.log(2) / math.log(3))
    # distances of the six pairs: 0, 1, 1, 2, 2, 1
    assert found.pairwise == pytest.approx(7 / 6)
    # nearest neighbours: each other at 0, the third one at 1, the last at 1
    assert sorted(found.nearest) == pytest.approx([0, 0, 1, 1], abs=1e-6)
    assert found.mean_nearest == pytest.approx(0.5)
    part = diversity(vectors, labels(0, 0, 1, 2), [0, 1])
    assert (part.covered, part.entropy, part.pairwise) == (1, 0.0, pytest.approx(0, abs=1e-6))
    alone = diversity(vectors, labels(0, 0, 1, 2), [0])
    assert (alone.pairwise, alone.mean_nearest) == (0.0, 0.0)


def test_the_nearest_is_found_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, one = rows(0, 90, 10, 180, 95), labels(0, 0, 0, 0, 0)
    whole = diversity(vectors, one, range(5))
    monkeypatch.setattr("burnish.selection.clusters.BATCH", 2)
    assert diversity(vectors, one, range(5)).nearest == pytest.approx(whole.nearest)
    gaps = [1 - math.cos(math.radians(angle)) for angle in (10, 5, 10, 85, 5)]
    assert sorted(whole.nearest) == pytest.approx(sorted(gaps), abs=1e-6)
