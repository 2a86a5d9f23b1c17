from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from tests.tracing.conftest import document, example, write

from burnish.config import InputError
from burnish.tracing.index import Index


def test_ancestors_and_descendants_of_a_run(run: Path) -> None:
    with Index([run]) as index:
        assert index.parents("r1") == ["e2"]
        assert index.ancestors("r1") == ["d2", "dump.jsonl:7", "e2"]
        assert index.descendants("d2") == ["e2", "e3", "r1"]
        assert index.children("d2") == ["e2", "e3"]
        assert index.descendants("r1") == []
        assert [str(place) for place in index.places("d3")] == ["docs.jsonl:3"]
        assert list(index.missing()) == []
        assert index.cycles() == []


def test_files_of_every_format_and_rows_that_are_no_records(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [document("a", "One.", "s"), {"text": 3}, document("b", "B", "s")])
    (tmp_path / "b.csv").write_text("id,text,source\nc,Three.,t\n")
    (tmp_path / "c.txt").write_text("First.\n\nSecond.\n")
    (tmp_path / "settings.json").write_text('{"no": "records"}')
    with Index([tmp_path]) as index:
        assert len(index) == 5
        assert [problem.line for problem in index.problems] == [2]
        assert index.places("c")[0].line == 2
        assert [place.number for place in index.places("b")] == [2]
        assert [path.name for path in index.passed_over] == ["settings.json"]


def test_cycles_and_missing_parents_are_told_not_fatal(tmp_path: Path) -> None:
    rows = [
        document("a", "A", "s", "c"), document("b", "B", "s", "a"), document("c", "C", "s", "b"),
        document("tail", "T", "s", "c"), document("end", "E", "s", "tail", "ok"),
        document("ok", "O", "s"), document("x", "X", "s", "gone", "pages.jsonl:4"),
    ]  # fmt: skip
    with Index([write(tmp_path / "x.jsonl", rows)]) as index:
        assert index.cycles() == ["a", "b", "c"]
        assert list(index.missing()) == [("x", "gone")]
        assert index.notes() == [
            "parents in none of the files: 1, such as gone of x",
            "records that descend from themselves: 3, such as a",
        ]
        assert index.descendants("a") == ["b", "c", "end", "tail"]
        assert index.ancestors("tail") == ["a", "b", "c"]
        assert index.mark(["a"]) == {"a": 1}
        assert index.chain("tail") == ["tail", "c", "b", "a", "is a"]


def test_a_rollouts_prompt_is_its_parent(tmp_path: Path) -> None:
    row = {"id": "r", "prompt_id": "p", "prompt": [{"role": "user", "content": "Hi"}],
           "completion": "Ho", "tokens": [1], "logprobs": [-0.5], "finish": "stop",
           "temperature": 1.0, "top_p": 1.0, "seed": 1, "scores": {}}  # fmt: skip
    with Index([write(tmp_path / "r.jsonl", [row])]) as index:
        assert index.parents("r") == ["p"]


@pytest.mark.parametrize(
    ("target", "marked"),
    [
        ("d2", {"d2", "e2", "e3", "r1"}),  # a record
        ("atlas", {"d1", "d3", "e1", "e3", "r2"}),  # a source
        ("dump.jsonl:7", {"d2", "e2", "e3", "r1"}),  # a parent that is no record
        ("dump.jsonl", {"d2", "e2", "e3", "r1"}),  # the file it was imported from
        ("rewrite@1/rewritten.jsonl", {"r1", "r2"}),  # a file here
    ],
)
def test_what_a_target_names_and_all_that_descends_from_it(
    run: Path, target: str, marked: set[str]
) -> None:  # S-22
    with Index([run]) as index:
        assert index.mark([target])[target] > 0
        found = {id for n in range(len(index.files)) for id, _, _ in index.marked(n)}
        assert found == marked


def test_a_name_is_not_taken_for_the_beginning_of_another(run: Path) -> None:
    with Index([run]) as index:
        assert index.mark(["dump.json", "d", "for"]) == {"dump.json": 0, "d": 0, "for": 0}


def test_nearest_ids(tmp_path: Path) -> None:
    rows = [document(id, id, "s") for id in ("doc-001", "doc-002", "doc-113", "zebra")]
    with Index([write(tmp_path / "x.jsonl", rows)]) as index:
        assert index.nearest("doc-01", 2) == ["doc-001", "doc-002"]
        assert "zebra" in index.nearest("zebr")


def test_an_input_that_changed_or_is_gone_is_said(run: Path) -> None:
    write(Path("docs.jsonl"), [document("d1", "Other.", "atlas")])
    Path("clean.jsonl").unlink()
    with Index([run]) as index:
        notes = " ".join(index.collected.notes)
        assert "docs.jsonl: has changed since" in notes
        assert "clean.jsonl: an input of" in notes


def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        rows = [example(f"e{i}", f"Question {i}?", "Yes.", f"e{i - 1}") for i in range(count)]
        path = write(tmp_path / f"{count}.jsonl", rows)
        del rows
        tracemalloc.start()
        with Index([path]) as index:
            assert len(index) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)  # what is loaded once
    # A record in memory takes a kilobyte; what is held above one batch is far below that.
    assert peak(6_000) - peak(2_000) < 100 * 4_000


def test_nothing_to_index(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Index([tmp_path / "gone"])
    with pytest.raises(InputError, match="no data there"):
        Index([tmp_path])
