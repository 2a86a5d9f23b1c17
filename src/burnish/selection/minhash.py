"""MinHash signatures of many texts at once, and the clusters of those that are alike.

MinHash (Broder 1997) with locality-sensitive hashing: a signature of ``bands * rows`` values is cut
into bands, and two texts that share a band are candidates, which are then compared exactly. Texts
whose sets of word n-grams have Jaccard similarity s become candidates with probability
``1 - (1 - s^rows)^bands``. Clusters are the connected components of the pairs found alike.

Texts go through numpy together: 30 microseconds each at 50 words, 20 of them for finding the words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from burnish.selection.texts import words

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

TEXTS_AT_ONCE = 512  # their n-grams, some hundred kilobytes, stay in the cache


@dataclass(frozen=True)
class Shingles:
    """Hashes of the word n-grams of texts: those of text i are ``values[starts[i]:starts[i + 1]]``.

    ``content: [texts]`` is a hash of all words in order: texts that have it in common differ in
    case, punctuation and white space at most.
    """

    values: Hashes
    starts: Indices
    content: Hashes

    def of(self, index: int) -> Hashes:
        """The sorted distinct hashes of one text."""
        return np.unique(self.values[self.starts[index] : self.starts[index + 1]])


def shingles(texts: Sequence[str], ngram: int) -> Shingles:
    """64-bit hashes of the word n-grams of every text.

    A text of fewer words has the one n-gram of all it has; a text without words counts as a single
    word, itself.
    """
    hashes = _WordHashes()
    flat: list[int] = []
    lengths = []
    content = []
    for text in texts:
        said = words(text) or [text]
        content.append(_hash(" ".join(said)))
        flat.extend(map(hashes.__getitem__, said))
        # Zeros add nothing to the sum below.
        flat.extend([0] * (ngram - len(said)))
        lengths.append(max(len(said), ngram))
    ends = np.cumsum(lengths, dtype=np.int64)
    found = np.array(flat, dtype=np.uint64)
    windows = np.zeros(max(len(found) - ngram + 1, 0), dtype=np.uint64)
    for place, key in enumerate(_keys(ngram, seed=0)):
        windows += found[place : place + len(windows)] * key
    # A window that begins in one text and ends in the next is none.
    whole = np.ones(len(windows), dtype=bool)
    for back in range(1, ngram):
        whole[ends[:-1] - back] = False
    counts = np.array(lengths, dtype=np.int64) - (ngram - 1)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Shingles(mixed(windows[whole]), starts, np.array(content, dtype=np.uint64))


def signatures(found: Shingles, count: int, seed: int) -> Hashes:
    """``[texts, count]`` MinHash values: for each of ``count`` hash functions the least value.

    The functions are multiply-add modulo 2^64 with odd factors, of values that are mixed before.
    """
    factors = _keys(count, seed)
    offsets = _keys(count, seed + 2**32)
    texts = len(found.starts) - 1
    lowest = np.empty((count, texts), dtype=np.uint64)
    for first in range(0, texts, TEXTS_AT_ONCE):
        starts = found.starts[first : first + TEXTS_AT_ONCE + 1]
        values = mixed(found.values[starts[0] : starts[-1]])
        begins = starts[:-1] - starts[0]
        for row in range(count):
            hashed = values * factors[row] + offsets[row]
            lowest[row, first : first + TEXTS_AT_ONCE] = np.minimum.reduceat(hashed, begins)
    return lowest.T


def signature(values: Hashes, count: int, seed: int) -> Hashes:
    """``[count]``: the signature of one set of hashes."""
    one = Shingles(values, np.array([0, len(values)]), np.zeros(1, dtype=np.uint64))
    row: Hashes = signatures(one, count, seed)[0]
    return row


def band_hashes(rows_of_bands: Hashes, bands: int) -> Hashes:
    """``[bands, texts]``: one hash for each band of signatures ``[texts, bands * rows]``."""
    texts, count = rows_of_bands.shape
    keys = _keys(count // bands, seed=1)
    by_band = rows_of_bands.reshape(texts, bands, count // bands)
    return mixed((by_band * keys).sum(axis=2, dtype=np.uint64)).T


def jaccard(left: Hashes, right: Hashes) -> float:
    """``|A ∩ B| / |A ∪ B|`` of two sorted sets of hashes."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele et al. 2014): every input bit moves every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def components(
    content: Hashes,
    bands: Iterable[Hashes],
    shingles_of: Callable[[int], Hashes],
    threshold: float,
) -> Indices:
    """``[texts]``: for every text the least index of its cluster.

    The clusters do not depend on the order of the texts: whatever shares a band is compared, unless
    it is known to be connected.

    Args:
        content: as in ``Shingles``; what is equal there is alike without being compared.
        bands: of each band the hashes ``[texts]``; one band is held at a time.
        shingles_of: the sorted distinct shingles of a text.
        threshold: texts of at least this Jaccard similarity are alike.
    """
    forest = _Forest(content)
    distinct = np.flatnonzero(forest.parent == np.arange(len(content)))
    for band in bands:
        for bucket in _open_buckets(forest, distinct, np.asarray(band)[distinct]):
            _compare(forest, bucket, shingles_of, threshold)
    return forest.roots(np.arange(len(content)))


class _Forest:
    """Union-find; the root of a tree is its least index."""

    def __init__(self, content: Hashes) -> None:
        _, first, inverse = np.unique(content, return_index=True, return_inverse=True)
        self.parent: Indices = first[inverse].astype(np.int64)

    def roots(self, indices: Indices) -> Indices:
        found = self.parent[indices]
        while not np.array_equal(above := self.parent[found], found):
            found = above
        self.parent[indices] = found
        return found

    def root(self, index: int) -> int:
        parent = self.parent
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return int(index)

    def join(self, first: int, second: int) -> None:
        low, high = sorted((self.root(first), self.root(second)))
        self.parent[high] = low


def _open_buckets(forest: _Forest, texts: Indices, band: Hashes) -> list[Indices]:
    """Groups of texts that share a band and are not all connected yet."""
    order = np.argsort(band, kind="stable")
    values, texts = band[order], texts[order]
    same = values[1:] == values[:-1]
    apart = same & (forest.roots(texts[1:]) != forest.roots(texts[:-1]))
    begins = np.flatnonzero(np.concatenate([[True], ~same]))
    ends = np.append(begins[1:], len(texts))
    chosen = np.unique(np.searchsorted(begins, np.flatnonzero(apart), side="right") - 1)
    return [texts[begins[bucket] : ends[bucket]] for bucket in chosen]


def _compare(
    forest: _Forest, bucket: Indices, shingles_of: Callable[[int], Hashes], threshold: float
) -> None:
    seen: dict[int, Hashes] = {}

    def of(index: int) -> Hashes:
        if index not in seen:
            seen[index] = shingles_of(index)
        return seen[index]

    for place, left in enumerate(bucket.tolist()):
        roots = forest.roots(bucket)
        if (roots == roots[0]).all():
            return
        for right in bucket[place + 1 :][roots[place + 1 :] != roots[place]].tolist():
            if (
                forest.root(left) != forest.root(right)
                and jaccard(of(left), of(right)) >= threshold
            ):
                forest.join(left, right)


def _keys(count: int, seed: int) -> Hashes:
    """``[count]`` odd 64-bit numbers, the same ones for a seed on any machine."""
    drawn = np.random.default_rng(seed).integers(0, 2**64, size=count, dtype=np.uint64)
    return drawn | np.uint64(1)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class _WordHashes(dict[str, int]):
    """Hashes of the words met so far."""

    def __missing__(self, word: str) -> int:
        found = self[word] = _hash(word)
        return found
