from __future__ import annotations

import csv
import json
import random
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from burnish import flow
from burnish.config import InputError
from burnish.config.progress import SilentProgress
from burnish.records import Document, Prompt, Record, Rollout
from burnish.selection import select as module
from burnish.selection.choose import SelectSettings
from burnish.store import tables

CITIES = ["Lima", "Oslo", "Rome", "Cairo", "Quito", "Dakar"]
BARE = {"exact": False, "near": None, "semantic": None}


@dataclass
class Found:
    """A selection and what it wrote."""

    report: module.Selection
    kept: list[Any]
    removed: list[dict[str, str]]


def select(
    records: Sequence[Record],
    settings: SelectSettings,
    *,
    scores: Sequence[float | None] | None = None,
    evaluations: Mapping[str, Sequence[Prompt]] | None = None,
    seed: int = 0,
    means: flow.Means | None = None,
) -> Found:
    """Records through files, as the command does it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        columns = [{}] * len(records) if scores is None else [{"score": one} for one in scores]
        rows = [json.dumps(vars(one) | more) for one, more in zip(records, columns, strict=True)]
        (root / "in.jsonl").write_text("\n".join(rows) + "\n")
        report = module.select(
            [root / "in.jsonl"],
            type(records[0]),
            root / "out.jsonl",
            root / "work",
            settings,
            score=None if scores is None else "score",
            evaluations=evaluations,
            seed=seed,
            means=means,
        )
        assert not (root / "work").exists()
        with report.lists[0].open(newline="") as file:
            removed = list(csv.DictReader(file, dialect="excel-tab"))
        some = (root / "out.jsonl").stat().st_size > 0
        kept = tables.read(root / "out.jsonl", type(records[0])) if some else []
    assert report.kept == len(kept)
    return Found(report, kept, removed)


def documents(*texts: str) -> list[Document]:
    return [Document(id=f"d{number}", text=text) for number, text in enumerate(texts)]


def ids(found: Found) -> list[str]:
    return [record.id for record in found.kept]


def reasons(found: Found) -> dict[str, str]:
    return {one["id"]: one["step"] for one in found.removed}


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
POOL = documents(
    LONG,
    LONG.upper() + "!",
    LONG + " fifteen",
    "the eval item says that the moon is made of green cheese today",
    "poor",
    "a fine text about the sea ...",
    "sea the about text fine a",
)


def test_each_step_removes_its_own_and_the_funnel_adds_up() -> None:
    item = Prompt(
        id="e1",
        messages=[{"role": "user", "content": "the moon is made of green cheese today"}],
    )
    found = select(
        POOL,
        SelectSettings(min_score=0.5, semantic=0.4, clusters=1),
        scores=[1, 1, 1, 1, 0.4, 1, 1],
        evaluations={"moon": [item]},
    )
    assert reasons(found) == {
        # of exact duplicates the longer text stays, and then of near ones the longest
        "d0": "exact_duplicate", "d1": "near_duplicate", "d3": "leak", "d4": "score",
        "d6": "semantic_duplicate",
    }  # fmt: skip
    assert ids(found) == ["d2", "d5"]
    steps = [(step.name, step.entered, step.left) for step in found.report.funnel]
    assert steps == [
        ("unscored", 7, 7),
        ("exact_duplicate", 7, 6),
        ("near_duplicate", 6, 5),
        ("leak", 5, 4),
        ("score", 4, 3),
        ("semantic_duplicate", 3, 2),
    ]
    assert [(hit.record_id, hit.item_id, hit.task) for hit in found.report.hits] == [
        ("d3", "e1", "moon")
    ]
    report = found.report.report()
    assert (report["entered"], report["kept"]) == (7, 2)
    assert report["evaluation_items_hit"] == {"moon": 1}
    assert found.report.funnel[4].examples[0].reason == "0.400 < 0.5"


def test_the_better_scored_duplicate_stays() -> None:
    pool = documents("the same words here", "The same words here.", "others")
    settings = SelectSettings(semantic=None, near=None)
    assert ids(select(pool, settings, scores=[0.9, 0.1, 0])) == ["d0", "d2"]
    assert ids(select(pool, settings, scores=[0.1, 0.9, 0])) == ["d1", "d2"]


def test_the_order_of_the_input_does_not_matter() -> None:
    draw = random.Random(0)
    texts = [f"{draw.choice(CITIES)} lies {draw.choice(CITIES)} {n % 37}" for n in range(120)]
    pool = documents(*texts)
    scores = [draw.random() for _ in pool]
    settings = SelectSettings(share=0.3, semantic=0.8, keep_top=0.8, clusters=6)
    chosen = set(ids(select(pool, settings, scores=scores)))
    assert len(chosen) == 36
    for seed in range(3):
        order = list(range(120))
        random.Random(seed).shuffle(order)
        again = select([pool[i] for i in order], settings, scores=[scores[i] for i in order])
        assert set(ids(again)) == chosen
        assert ids(again) == [pool[i].id for i in order if pool[i].id in chosen]


def heaps() -> list[Document]:
    """Three heaps of 40, 10 and 4 texts that share no word with each other."""
    return documents(
        *["red apple pear plum"] * 40,
        *["iron copper zinc tin"] * 10,
        *["violin cello flute oboe"] * 4,
    )


def heap_sizes(found: Found) -> list[int]:
    return [sum(word in one.text for one in found.kept) for word in ("apple", "copper", "cello")]


@pytest.mark.parametrize(
    ("quota", "expected"), [("equal", [4, 4, 4]), ("sqrt", [7, 3, 2]), ("proportional", [9, 2, 1])]
)
def test_a_balanced_sample_covers_the_clusters(quota: str, expected: list[int]) -> None:
    settings = SelectSettings(**BARE, count=12, quota=quota, clusters=3)
    found = select(heaps(), settings)
    # roots 6.32 : 3.16 : 2 of 12 are 6.6 : 3.3 : 2.1; shares 8.9 : 2.2 : 0.9
    assert heap_sizes(found) == expected
    assert found.report.spread.after.covered == 3
    if quota == "equal":
        assert found.report.spread.after.entropy == pytest.approx(1)
        assert found.report.spread.before.entropy < 0.75


def test_scores_decide_inside_a_cluster_and_the_seed_without() -> None:
    settings = SelectSettings(**BARE, count=6, quota="equal", clusters=3)
    pool = heaps()
    found = select(pool, settings, scores=[float(n) for n in range(54)])
    assert ids(found) == ["d38", "d39", "d48", "d49", "d52", "d53"]
    drawn = [ids(select(pool, settings, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


def test_the_best_share_of_every_topic() -> None:
    def rollout(number: int, topic: str) -> Rollout:
        return Rollout(
            id=f"r{number}", prompt_id="p", prompt=[{"role": "user", "content": "?"}],
            completion=f"text {number}", tokens=[], logprobs=[], finish="stop",
            temperature=1.0, top_p=1.0, seed=0, scores={}, topic=topic,
        )  # fmt: skip

    pool = [rollout(n, "many" if n < 8 else "few") for n in range(10)]
    settings = SelectSettings(**BARE, keep_top=0.25)
    # scores of "few" are all below those of "many": 2 of 8 and, rounded up, 1 of 2
    found = select(pool, settings, scores=[10.0 - n for n in range(10)])
    assert [one.id for one in found.kept] == ["r0", "r1", "r8"]
    assert found.removed[0]["reason"].startswith("not among the best of ")
    # documents have no topic: the clusters stand for them
    by_cluster = select(
        heaps(), SelectSettings(**BARE, keep_top=0.1, clusters=3), scores=[0.0] * 54
    )
    assert heap_sizes(by_cluster) == [4, 1, 1]


def test_settings_that_need_what_is_not_there() -> None:
    with pytest.raises(InputError, match="min_score: needs scores"):
        select(POOL, SelectSettings(min_score=0.1))
    with pytest.raises(InputError, match="one of the two"):
        select(POOL, SelectSettings(count=1, share=0.5))


def test_lists_of_what_was_removed(tmp_path: Path) -> None:
    tables.write(tmp_path / "x.jsonl", documents("a b", "A, b\n", "c"))
    found = module.select(
        [tmp_path / "x.jsonl"], Document, tmp_path / "o.jsonl", tmp_path / "w", SelectSettings()
    )
    assert found.lists == [tmp_path / "o.jsonl.removed.tsv"]
    text = found.lists[0].read_text()
    assert text == "id\tstep\treason\nd0\texact_duplicate\trepeats d1\n"


def test_scores_come_from_a_column(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(
        '{"text": "a", "scores": {"fluency": 0.5}}\n{"text": "b", "scores": {"fluency": 1}}\n'
    )
    cut = flow.cut([file, file], Document, tmp_path / "a", 3, column="scores.fluency")
    assert [one.text for part in range(2) for one in cut.read(part)] == ["a", "b", "a", "b"]  # type: ignore[attr-defined]
    assert flow.numbers(cut).tolist() == [0.5, 1.0, 0.5, 1.0]
    with pytest.raises(InputError, match="none of 2 records has a number"):
        flow.cut(file, Document, tmp_path / "b", column="scores.relevance")
    file.write_text('{"text": "a", "s": true}\n{"text": "b"}\n{"text": "c", "s": "1"}\n')
    with pytest.raises(InputError) as caught:
        list(tables.with_numbers(file, Document, "s"))
    assert [(one.line, one.field) for one in caught.value.problems] == [(1, "s"), (3, "s")]


def test_a_missing_score_is_not_zero() -> None:
    pool = documents("one", "two", "three")
    found = select(pool, SelectSettings(min_score=-5), scores=[-1.0, None, -9.0])
    assert ids(found) == ["d0"]
    assert reasons(found) == {"d1": "unscored", "d2": "score"}


class Stopping(SilentProgress):
    """Stops the work after so many parts, as Ctrl-C would."""

    def __init__(self, parts: int) -> None:
        self.left = parts

    def advance(self, n: int = 1, **fields: float | str) -> None:
        self.left -= n
        if self.left < 0:
            raise KeyboardInterrupt


def test_interrupted_it_goes_on_and_the_parts_change_nothing(tmp_path: Path) -> None:
    """R-24, R-30: after every part of every pass; parts of 20 give what one part gives."""
    draw = random.Random(0)
    rows = [{"text": f"{draw.choice(CITIES)} {draw.choice(CITIES)} {n % 17}", "total": n % 5}
            for n in range(50)]  # fmt: skip
    data = tmp_path / "x.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = SelectSettings(share=0.5, keep_top=0.8, clusters=3)

    def run(name: str, means: flow.Means) -> bytes:
        out, work = tmp_path / name, tmp_path / f".{name}.work"
        module.select([data], Document, out, work, settings, score="total", means=means)
        assert not work.exists()
        return out.read_bytes() + (tmp_path / f"{name}.removed.tsv").read_bytes()

    wanted = run("whole.jsonl", flow.Means())
    stops = 0
    while True:
        try:
            found = run("parts.jsonl", flow.Means(part=20, progress=Stopping(stops)))
            break
        except KeyboardInterrupt:
            stops += 1
            assert not (tmp_path / "parts.jsonl").exists()
    assert stops >= 3
    assert found == wanted
