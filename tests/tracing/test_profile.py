from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from tests.tracing.conftest import document, example, write

from burnish.config import InputError
from burnish.tracing.profile import SAMPLE, duplicates, layout, profile, spread


def test_what_is_counted(tmp_path: Path) -> None:
    rows = [
        example("a", "1234", "567890", tier="expert", topic="x", scores={"f": 0.0}, synthetic=True),
        example("b", "你好", "你好", tier="bulk", topic="y", scores={"f": 1.0}, synthetic=True),
        example("b", "你好", "你好", tier="bulk", topic="y", total=2.0),
        {"messages": 3},
    ]
    found = profile(write(tmp_path / "x.jsonl", rows), tokenize=len)
    assert (found.records, found.repeated, found.bad, found.files) == (3, 1, 1, 1)
    assert found.totals == {"characters": 18, "tokens": 18}
    assert found.counts["tier"] == {"bulk": 2, "expert": 1}
    assert found.counts["lang"] == {"zh": 2, "en": 1}
    assert found.counts["topic"] == {"y": 2, "x": 1}
    assert (found.synthetic, found.coloured_by) == (2, "topic")
    assert {name: (s.mean, s.n) for name, s in found.scores.items()} == {
        "f": (0.5, 2),
        "total": (2.0, 1),
    }
    assert found.duplicates is not None
    assert (found.duplicates.exact, found.duplicates.near) == (1, 1)


def test_bins_of_whole_numbers_hold_every_value() -> None:
    found = spread(np.array([1.0, 2.0, 2.0, 3.0, 500.0]), log=True)
    assert sum(found.bins.counts) == 5
    assert list(found.bins.edges[:4]) == [0.5, 1.5, 2.5, 3.5]
    assert list(found.bins.counts[:3]) == [1, 2, 1]
    assert found.bins.edges[-1] == 500.5
    assert (found.median, found.n) == (2.0, 5)
    empty = spread(np.array([0.0, 0.0]), log=True)  # records without text
    assert empty.bins.counts == [2]


def test_scores_that_are_all_equal() -> None:
    found = spread(np.array([0.7, 0.7]))
    assert (found.bins.edges[0], found.bins.edges[-1]) == (0.7 - 0.5, 0.7 + 0.5)
    assert sum(found.bins.counts) == 2


def test_the_sample_is_drawn_evenly_from_the_whole_file(tmp_path: Path) -> None:
    count = SAMPLE + 500
    rows = [
        document(f"{i}", f"Text {i}.", "early" if i < count / 2 else "late") for i in range(count)
    ]
    found = profile(write(tmp_path / "x.jsonl", rows))
    assert len(found.dots) == SAMPLE
    late = sum(dot.group == "late" for dot in found.dots)
    # Hypergeometric: 1000 expected, standard deviation 10.
    assert abs(late - SAMPLE / 2) < 50


def test_texts_that_share_words_lie_together() -> None:
    cats, stars = ["cat purrs milk cat", "milk cat purrs"], ["star sky night", "night star sky far"]
    said = ["猫喝牛奶", "猫爱牛奶"]
    places = layout([*cats, *stars, *said])
    apart = [np.linalg.norm(places[i] - places[j]) for i in range(6) for j in range(6)]
    near = [np.linalg.norm(places[i] - places[i + 1]) for i in (0, 2, 4)]
    assert max(near) < 0.2 * max(apart)
    assert (layout(["one", "two", "three"]) == 0).all()  # no word in common
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(layout(["the same words"] * 5)).all()


def test_duplicates_and_their_groups() -> None:
    found = duplicates(["Same text.", "same TEXT", "Other.", "Same text!"])
    assert (found.sample, found.exact, found.near) == (4, 2, 2)
    assert found.groups == [(3, "Same text.")]


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no known records"):
        profile(write(tmp_path / "x.jsonl", [{"foo": 1}]))
