from __future__ import annotations

import numpy as np
import pytest

from burnish.selection.dedup import near_duplicates
from burnish.selection.minhash import (
    Hashes,
    band_hashes,
    components,
    jaccard,
    shingles,
    signature,
    signatures,
)
from burnish.selection.texts import words

TEXTS = [
    "one two three four five six",
    "",
    "a b",
    "...",
    "床前明月光,疑是地上霜",
    "a b!",
    "c c",
]


def test_texts_together_are_as_each_alone() -> None:
    found = shingles(TEXTS, 3)
    # windows of 3: 4 of six words, 8 of ten characters; shorter texts have one
    assert np.diff(found.starts).tolist() == [4, 1, 1, 1, 8, 1, 1]
    for index, text in enumerate(TEXTS):
        assert np.array_equal(found.of(index), shingles([text], 3).of(0))
    alone = [signature(found.of(index), 16, seed=4) for index in range(len(TEXTS))]
    assert np.array_equal(signatures(found, 16, seed=4), alone)


def test_what_shingles_and_content_tell_apart() -> None:
    found = shingles(["a b c", "A, b; C!", "b a c", "a b", "", "...", "b c a b c"], 3)
    content = found.content.tolist()
    assert content[0] == content[1]
    assert len(set(content)) == 6
    assert jaccard(found.of(0), found.of(1)) == 1
    assert jaccard(found.of(0), found.of(2)) == 0  # order counts
    # {abc} and {bca, cab, abc}: 1/3
    assert jaccard(found.of(0), found.of(6)) == pytest.approx(1 / 3)


def test_bands_are_equal_where_their_rows_are() -> None:
    rows = np.arange(12, dtype=np.uint64).reshape(2, 6)
    rows[1, 2:4] = rows[0, 2:4]
    bands = band_hashes(rows, 3)
    assert bands.shape == (3, 2)
    assert (bands[:, 0] == bands[:, 1]).tolist() == [False, True, False]


def some(*values: int) -> Hashes:
    return np.array(sorted(values), dtype=np.uint64)


def test_all_pairs_of_a_bucket_are_compared() -> None:  # C-39
    """Neighbours in a bucket may differ while others in it are alike."""
    sets = [
        some(*range(10)),  # 0 and 2 share 9 of 11
        some(*range(100, 110)),
        some(*range(9), 50),
        some(*range(101, 111)),  # 1 and 3 share 9 of 11
        some(*range(9), 51),  # 2 and 4 share 9 of 11, 0 and 4 too
    ]
    content = np.arange(5, dtype=np.uint64)
    one_bucket = [np.zeros(5, dtype=np.uint64)]

    def labels(threshold: float, bands: list[Hashes]) -> list[int]:
        return components(content, bands, sets.__getitem__, threshold).tolist()

    assert labels(9 / 11, one_bucket) == [0, 1, 0, 1, 0]
    assert labels(0.82, one_bucket) == [0, 1, 2, 3, 4]  # 9/11 = 0.818
    assert labels(0.5, [content]) == [0, 1, 2, 3, 4]  # no band shared, nothing compared


def test_clusters_are_chains_of_pairs() -> None:
    """0 is like 1 and 1 like 2, in different bands; 0 and 2 share nothing else."""
    sets = [some(1, 2, 3), some(2, 3, 4), some(3, 4, 5)]  # 2/4, 2/4, and 1/5 at the ends
    bands = [np.array([7, 7, 8], dtype=np.uint64), np.array([1, 2, 2], dtype=np.uint64)]
    content = np.arange(3, dtype=np.uint64)
    assert components(content, bands, sets.__getitem__, 0.5).tolist() == [0, 0, 0]
    assert components(content, bands, sets.__getitem__, 0.51).tolist() == [0, 1, 2]


def test_many_equal_texts_are_not_compared_in_pairs() -> None:
    """5000 equal texts have 12 million pairs; this ends at once because none is looked at."""
    compared = []

    def shingles_of(index: int) -> Hashes:
        compared.append(index)
        return some(index)

    content = np.zeros(5000, dtype=np.uint64)
    labels = components(content, [content] * 14, shingles_of, 0.7)
    assert labels.tolist() == [0] * 5000
    assert not compared
    assert near_duplicates([]).kept == []
    assert near_duplicates(["Same, text", "same text!"] * 500).removed == 999


def test_words() -> None:
    """Exactly these, as before the pattern was written without a look ahead at each letter."""
    found = words("It's ﬁne_x 3.5 读书, Ａb〇c")
    assert found == ["it", "s", "fine", "x", "3", "5", "读", "书", "ab", "〇", "c"]
