from __future__ import annotations

import random

import numpy as np
import pytest

from burnish.selection.dedup import (
    DedupSettings,
    alike,
    collision_probability,
    exact_duplicates,
    jaccard,
    near_duplicates,
    shingle_hashes,
    signature,
)


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [(0.5, 0.0533), (0.7, 0.5645), (0.75, 0.7716), (0.8, 0.9235), (0.9, 0.9996)],
)
def test_the_lsh_curve(similarity: float, expected: float) -> None:  # C-39
    assert collision_probability(similarity) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("similarity", [0.5, 0.75, 0.9])
def test_signatures_follow_the_curve(similarity: float) -> None:  # C-39
    random_hashes = np.random.default_rng(1)
    pairs, union = 400, 200
    shared = round(similarity * union)
    found = 0
    for _ in range(pairs):
        values = random_hashes.integers(0, 2**64, size=union, dtype=np.uint64)
        left, right = values[: shared + (union - shared) // 2], values[:shared]
        right = np.concatenate([right, values[shared + (union - shared) // 2 :]])
        bands = [signature(side, 112, 0).reshape(14, 8) for side in (left, right)]
        found += bool((bands[0] == bands[1]).all(axis=1).any())
    expected = collision_probability(similarity)
    # four standard deviations of a binomial proportion with 400 draws
    assert abs(found / pairs - expected) < 4 * (expected * (1 - expected) / pairs) ** 0.5 + 1e-3


def test_minhash_estimates_jaccard() -> None:
    left, right = np.arange(1000, dtype=np.uint64), np.arange(500, 1500, dtype=np.uint64)
    same = signature(left, 4000, 3) == signature(right, 4000, 3)
    # |A ∩ B| = 500, |A ∪ B| = 1500: 1/3; the standard deviation of the mean is 0.0075
    assert same.mean() == pytest.approx(1 / 3, abs=0.03)
    assert jaccard(left, right) == pytest.approx(1 / 3)


def planted() -> tuple[list[str], set[frozenset[str]]]:
    source = random.Random(5)
    vocabulary = [f"word{i}" for i in range(500)]
    texts = [" ".join(source.choices(vocabulary, k=60)) for _ in range(40)]
    groups = set()
    for index in range(10):
        tokens = texts[index].split()
        tokens[0] = "changed"  # one of 56 five-grams differs: Jaccard 55/57 = 0.965
        twin = " ".join(tokens)
        texts.append(twin)
        groups.add(frozenset({texts[index], twin}))
    return texts, groups


def test_planted_pairs_are_found_in_any_order() -> None:  # C-39
    texts, groups = planted()
    kept_before = None
    for seed in range(3):
        order = texts.copy()
        random.Random(seed).shuffle(order)
        result = near_duplicates(order)
        assert {frozenset(order[i] for i in cluster) for cluster in result.clusters} == groups
        assert (len(result.kept), result.removed) == (40, 10)
        kept = {order[i] for i in result.kept}
        assert kept_before in (None, kept)
        kept_before = kept


def test_chinese_near_duplicates() -> None:
    poem = "床前明月光,疑是地上霜。举头望明月,低头思故乡。"
    other = "春眠不觉晓,处处闻啼鸟。夜来风雨声,花落知多少。"
    result = near_duplicates([poem, other, poem.replace("。", "!") + "嗯"])
    # 20 characters: 16 five-grams, 17 with one more character: Jaccard 16/17
    assert result.clusters == [[0, 2]]


def test_below_the_threshold_nothing_is_removed() -> None:
    texts = ["a b c d e f g h", "a b c d e f g x"]  # 4 five-grams each, 3 shared: 3/5
    assert near_duplicates(texts, DedupSettings(bands=112, rows=1)).removed == 0
    assert near_duplicates(texts, DedupSettings(bands=112, rows=1, threshold=0.6)).removed == 1


def test_exact_duplicates_ignore_case_punctuation_and_space() -> None:
    texts = ["Hello, world!", "hello  world", "HELLO world", "bye", "...", "!!!"]
    result = exact_duplicates(texts)
    assert result.clusters == [[0, 1, 2]]
    assert result.kept == [0, 3, 4, 5]  # the longest of the three is kept


def test_shingles_of_short_and_empty_texts() -> None:
    assert len(shingle_hashes("one two three", 5)) == 1
    assert len(shingle_hashes("", 5)) == 1
    assert len(shingle_hashes("a b c d e f", 5)) == 2


def test_one_text_is_held_against_all_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burnish.selection.dedup.TEXTS_AT_ONCE", 3)
    said = "one two three four five six seven eight nine ten eleven twelve"
    near = f"{said} more"
    others = ["nothing like it at all here", said.upper() + "!", "", near, "one two"]
    found = dict(alike(said, enumerate(others), lambda row: row[1]))
    # Eight 5-grams, of which the longer text has one more: 8 / 9.
    assert found == {(1, others[1]): 1.0, (3, near): pytest.approx(8 / 9)}
