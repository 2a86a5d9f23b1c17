from __future__ import annotations

import os
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.flow.work import contents
from tests.store.conftest import kill_everywhere

from burnish import flow
from burnish.config import InputError
from burnish.records import Document
from burnish.selection.dedup import DedupSettings, near_duplicates
from burnish.selection.dedup_parts import dedup
from burnish.store import tables

__all__ = ["kill_everywhere"]


def planted(texts: int = 40, copies: int = 10) -> list[Document]:
    """Copies with the first of 60 words changed: one of 56 five-grams, Jaccard 55/57 = 0.965."""
    draw = random.Random(5)
    vocabulary = [f"word{i}" for i in range(500)]
    said = [draw.choices(vocabulary, k=60) for _ in range(texts)]
    said += [["changed", *said[index][1:]] for index in range(copies)]
    return [Document(id=f"d{n}", text=" ".join(words)) for n, words in enumerate(said)]


def run(root: Path, documents: Sequence[Document], **options: Any) -> flow.Report:
    tables.write(root / "in.jsonl", documents)
    source = flow.source_of(root / "in.jsonl", Document, root / "cut", size=8, rerun=True)
    return dedup(source, root / "out", Document, **options)


def kept(root: Path) -> set[str]:
    return {one.id for one in tables.iterate(root / "out", Document)}


def test_one_of_each_planted_pair_stays_whatever_the_order(tmp_path: Path) -> None:  # C-39
    documents = planted()
    before = None
    for seed in range(3):
        root = tmp_path / str(seed)
        order = list(documents)
        random.Random(seed).shuffle(order)
        report = run(root, order)
        assert (report.kept, report.removed) == (40, {"dedup": 10})
        assert [one.id for one in tables.iterate(root / "out", Document)] == [
            one.id for one in order if one.id in kept(root)
        ]
        for index in range(10):
            assert len(kept(root) & {f"d{index}", f"d{40 + index}"}) == 1
        assert before in (None, kept(root))
        before = kept(root)
        assert sorted(os.listdir(root)) == ["cut", "in.jsonl", "out"]


def test_on_disk_as_in_memory(tmp_path: Path) -> None:
    """The same texts stay, with clusters of many sizes and equal texts among them."""
    draw = random.Random(2)
    base = [" ".join(draw.choices("abcdefgh", k=12)) for _ in range(12)]
    texts = [text + draw.choice(["", "!", " x", " x y"]) for text in base * 6]
    settings = DedupSettings(ngram=2, bands=28, rows=2, threshold=0.6)
    documents = [Document(id=str(number), text=text) for number, text in enumerate(texts)]
    report = run(tmp_path, documents, settings=settings)
    wanted = near_duplicates(texts, settings)
    assert report.kept == len(wanted.kept) < len(texts) / 2
    found = [one.text for one in tables.iterate(tmp_path / "out", Document)]
    assert sorted(found) == sorted(texts[index] for index in wanted.kept)


def test_of_equal_texts_the_least_id_stays_in_any_order(tmp_path: Path) -> None:
    for name, ids in {"a": "zxy", "b": "yxz"}.items():
        (tmp_path / name).mkdir()
        run(tmp_path / name, [Document(id=each, text="the same words") for each in ids])
        assert kept(tmp_path / name) == {"x"}
        assert "\tnear duplicate of x\n" in (tmp_path / name / "out/removed-00000.tsv").read_text()


def test_killed_anywhere_the_result_is_the_same(kill_everywhere: Any, tmp_path: Path) -> None:
    """R-01, R-24: signatures, the choice, and the parts without duplicates."""
    documents = planted(texts=5, copies=2)
    wanted_root = tmp_path / "wanted"
    run(wanted_root, documents)
    wanted = contents(wanted_root / "out")
    source = flow.PartsFolder(wanted_root / "cut", Document)

    def again(root: Path) -> None:
        dedup(source, root / "out", Document)

    def check(root: Path) -> None:
        again(root)
        assert contents(root / "out") == wanted
        assert os.listdir(root) == ["out"]

    assert kill_everywhere(lambda _root: None, again, check) > 25


def test_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path / "one", planted())
    run(tmp_path / "two", planted(), executor=flow.Executor(workers=2))
    assert contents(tmp_path / "one/out") == contents(tmp_path / "two/out")


def test_other_settings_are_refused_before_any_work(tmp_path: Path) -> None:
    run(tmp_path, planted())
    stricter = partial(run, tmp_path, planted(), settings=DedupSettings(threshold=0.97))
    with pytest.raises(InputError, match=r"steps\[0\]\.settings\.threshold: made with 0\.7; asked"):
        stricter()
    assert not (tmp_path / ".out.work").exists()
    assert stricter(rerun=True).removed == {}
