"""How close a reply is to its prompt in meaning, by a sentence encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from burnish.models import encoders

Encode = Callable[[Sequence[str]], Any]
"""Texts to vectors of length 1, ``[n, D]``."""


def load_encoder(name: str) -> Encode:
    """The encoder of that name; errors as in ``models.encoders``."""
    encoder = encoders.load_encoder(name)
    return lambda texts: encoder.encode(
        list(texts), normalize_embeddings=True, show_progress_bar=False
    )


def similarities(encode: Encode, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The cosine of each pair of texts, 0 where it is negative."""
    left, right = (encode([pair[side] for pair in pairs]) for side in (0, 1))
    return [min(1.0, max(0.0, float(value))) for value in (left * right).sum(axis=1)]
