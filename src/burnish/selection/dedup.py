"""Exact and near duplicates in memory. The result does not depend on the order of the input.

Near duplicates are found as ``minhash`` says, in 14 bands of 8 rows over word 5-grams; of each
cluster one text is kept. ``dedup_parts`` does the same with records on disk.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from pydantic import Field

from burnish.config import Settings
from burnish.selection.minhash import (
    TEXTS_AT_ONCE,
    Hashes,
    band_hashes,
    components,
    jaccard,
    shingles,
    signature,
    signatures,
)
from burnish.selection.texts import words

__all__ = [
    "Clusters",
    "DedupSettings",
    "alike",
    "collision_probability",
    "exact_duplicates",
    "jaccard",
    "near_duplicates",
    "preference",
    "shingle_hashes",
    "signature",
]

T = TypeVar("T")


class DedupSettings(Settings):
    """``threshold`` is the Jaccard similarity of word n-grams from which two texts are duplicates.

    Candidates are found by MinHash in ``bands`` of ``rows``: the defaults find 56 in 100 pairs of
    similarity 0.7, 92 of 0.8, and all of 0.9.
    """

    bands: int = Field(14, ge=1)
    rows: int = Field(8, ge=1)
    ngram: int = Field(5, ge=1)
    threshold: float = Field(0.7, gt=0, le=1)
    seed: int = Field(0, ge=0)


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
    found = shingles(texts, settings.ngram)
    count = settings.bands * settings.rows
    bands = band_hashes(signatures(found, count, settings.seed), settings.bands)
    labels = components(found.content, bands, found.of, settings.threshold)
    groups: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels.tolist()):
        groups[label].append(index)
    return _clusters(texts, groups.values())


def alike(
    text: str,
    others: Iterable[T],
    text_of: Callable[[T], str],
    settings: DedupSettings | None = None,
) -> Iterator[tuple[T, float]]:
    """Those of ``others`` that are near duplicates of ``text``, with their Jaccard similarity.

    Every one is compared, a few hundred at a time, so that ``others`` may be more than memory
    holds.
    """
    settings = settings or DedupSettings()
    own = shingle_hashes(text, settings.ngram)
    pending = iter(others)
    while chunk := list(islice(pending, TEXTS_AT_ONCE)):
        found = shingles([text_of(one) for one in chunk], settings.ngram)
        for place, one in enumerate(chunk):
            similarity = jaccard(own, found.of(place))
            if similarity >= settings.threshold:
                yield one, similarity


def collision_probability(similarity: float, bands: int = 14, rows: int = 8) -> float:
    """How likely two texts of this Jaccard similarity share a band: ``1 - (1 - s^r)^b``."""
    return float(1 - (1 - similarity**rows) ** bands)


def shingle_hashes(text: str, ngram: int) -> Hashes:
    """Sorted distinct 64-bit hashes of the word n-grams (of the whole text where shorter)."""
    return shingles([text], ngram).of(0)


def preference(text: str) -> tuple[int, int]:
    """The text of a cluster with the least of these is kept: the longest, then by a hash.

    By content, so that it is the same text for any order of the input.
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return -len(text), int.from_bytes(digest, "little")


def _clusters(texts: Sequence[str], groups: Iterable[list[int]]) -> Clusters:
    kept, clusters = [], []
    for group in groups:
        kept.append(min(group, key=lambda index: (*preference(texts[index]), index)))
        if len(group) > 1:
            clusters.append(sorted(group))
    return Clusters(sorted(kept), sorted(clusters))
