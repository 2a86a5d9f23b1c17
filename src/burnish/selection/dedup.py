"""Exact and near duplicates. The result does not depend on the order of the input.

Near duplicates: MinHash (Broder 1997) with locality-sensitive hashing in 14 bands of 8 rows. Two
texts whose sets of word 5-grams have Jaccard similarity s become candidates with probability
``1 - (1 - s^8)^14``; candidates are then compared exactly. Clusters are the connected components,
and of each cluster one text is kept.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from burnish.config import Settings
from burnish.selection.texts import words

Hashes = NDArray[np.uint64]


class DedupSettings(Settings):
    """``threshold`` is the Jaccard similarity from which two texts are duplicates."""

    bands: int = 14
    rows: int = 8
    ngram: int = 5
    threshold: float = 0.7
    seed: int = 0


@dataclass(frozen=True)
class Clusters:
    """``kept``: indices to keep, ascending. ``clusters``: groups of two or more duplicates."""

    kept: list[int]
    clusters: list[list[int]]

    @property
    def removed(self) -> int:
        """How many texts are duplicates of a kept one."""
        return sum(len(cluster) - 1 for cluster in self.clusters)


def exact_duplicates(texts: Sequence[str]) -> Clusters:
    """Texts that are equal but for case, punctuation and white space."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        said = " ".join(words(text)) or text
        groups[hashlib.blake2b(said.encode(), digest_size=16).digest()].append(index)
    return _clusters(texts, groups.values())


def near_duplicates(texts: Sequence[str], settings: DedupSettings | None = None) -> Clusters:
    """Clusters of texts that share most of their word n-grams; exact duplicates included."""
    settings = settings or DedupSettings()
    shingles = [shingle_hashes(text, settings.ngram) for text in texts]
    parent = list(range(len(texts)))
    for bucket in _buckets(shingles, settings):
        for left, right in combinations(bucket, 2):
            first, second = _root(parent, left), _root(parent, right)
            if first != second and jaccard(shingles[left], shingles[right]) >= settings.threshold:
                parent[first] = second
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(len(texts)):
        groups[_root(parent, index)].append(index)
    return _clusters(texts, groups.values())


def collision_probability(similarity: float, bands: int = 14, rows: int = 8) -> float:
    """How likely two texts of this Jaccard similarity share a band: ``1 - (1 - s^r)^b``."""
    return float(1 - (1 - similarity**rows) ** bands)


def shingle_hashes(text: str, ngram: int) -> Hashes:
    """Sorted distinct 64-bit hashes of the word n-grams (of the whole text where shorter)."""
    said = words(text)
    width = min(ngram, len(said))
    grams = (
        {" ".join(said[i : i + width]) for i in range(len(said) - width + 1)} if said else {text}
    )
    digests = (hashlib.blake2b(gram.encode(), digest_size=8).digest() for gram in grams)
    return np.unique(np.frombuffer(b"".join(digests), dtype=np.uint64))


def signature(shingles: Hashes, count: int, seed: int) -> Hashes:
    """``[count]`` MinHash values: for each of ``count`` hash functions the smallest value."""
    keys = np.random.default_rng(seed).integers(0, 2**64, size=(count, 1), dtype=np.uint64)
    lowest: Hashes = _mixed(shingles[None, :] ^ keys).min(axis=1)
    return lowest


def jaccard(left: Hashes, right: Hashes) -> float:
    """``|A ∩ B| / |A ∪ B|`` of two sorted sets of hashes."""
    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64 (Steele et al. 2014): every input bit moves every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _buckets(shingles: Sequence[Hashes], settings: DedupSettings) -> Iterable[list[int]]:
    count = settings.bands * settings.rows
    tables: list[dict[bytes, list[int]]] = [defaultdict(list) for _ in range(settings.bands)]
    for index, hashes in enumerate(shingles):
        rows = signature(hashes, count, settings.seed).reshape(settings.bands, settings.rows)
        for table, band in zip(tables, rows, strict=True):
            table[band.tobytes()].append(index)
    return (bucket for table in tables for bucket in table.values() if len(bucket) > 1)


def _root(parent: list[int], index: int) -> int:
    while parent[index] != index:
        parent[index] = parent[parent[index]]
        index = parent[index]
    return index


def _clusters(texts: Sequence[str], groups: Iterable[list[int]]) -> Clusters:
    kept, clusters = [], []
    for group in groups:
        # The choice is by content, so that it is the same text for any order of the input.
        kept.append(min(group, key=lambda index: (-len(texts[index]), texts[index], index)))
        if len(group) > 1:
            clusters.append(sorted(group))
    return Clusters(sorted(kept), sorted(clusters))
