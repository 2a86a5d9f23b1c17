from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.flow.work import Made, contents, document, lose, steps, texts

from burnish import flow
from burnish.config import InputError
from burnish.flow.steps import LostRecords
from burnish.records import Document
from burnish.store import manifest, tables
from burnish.store.errors import CorruptError, StorageError
from burnish.store.lock import held

WANTED = [f"TEXT {n}" for n in range(10) if n != 7]


def run(root: Path, count: int = 10, **options: Any) -> flow.Report:
    made = Made(count, root / "ledger")
    return flow.run(made, root / "out", options.pop("steps", steps()), Document, **options)


def test_ten_records_in_parts_of_four(tmp_path: Path) -> None:
    report = run(tmp_path)
    assert (report.kept, report.removed) == (9, {"shout": 1})
    assert texts(tmp_path / "out") == WANTED
    assert sorted(os.listdir(tmp_path / "out")) == [
        "flow.json", "manifest.json",
        "part-00000.parquet", "part-00001.parquet", "part-00002.parquet",
        "removed-00000.tsv", "removed-00001.tsv", "removed-00002.tsv",
    ]  # fmt: skip
    assert (tmp_path / "out/removed-00001.tsv").read_text() == (
        'id\tstep\treason\nd7\tshout\t"ends\tin 7"\n'
    )
    manifest.verify(tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == ["ledger", "out"]


def test_a_part_that_loses_all_is_still_a_part(tmp_path: Path) -> None:
    drop = flow.Step("drop", drop_first_part)
    report = run(tmp_path, steps=[drop, *steps()])
    assert (report.kept, report.removed) == (5, {"drop": 4, "shout": 1})
    assert texts(tmp_path / "out") == WANTED[4:]
    again = flow.run(
        flow.PartsFolder(tmp_path / "out", Document), tmp_path / "next", steps(), Document
    )
    assert again.kept == 5


def drop_first_part(part: flow.Part) -> flow.Sifted:
    if part.index:
        return flow.Sifted(part.records)
    return flow.Sifted([], [flow.Removed(one.id, "first") for one in part.records])


def test_killed_anywhere_nothing_is_paid_for_twice(kill_everywhere: Any, tmp_path: Path) -> None:
    """R-01, R-18, R-24: at each fault point of a run; what is there then is not made again."""

    def six(root: Path) -> None:
        run(root, count=6)

    six(tmp_path)
    wanted = contents(tmp_path / "out")
    found = []

    def check(root: Path) -> None:
        ledger = Made(6, root / "ledger")
        before = ledger.paid()
        kept = {n for n in range(2) if (root / f"out/part-0000{n}.parquet").exists()}
        six(root)
        assert contents(root / "out") == wanted
        assert sorted(os.listdir(root)) == ["ledger", "out"]
        after = ledger.paid()
        assert all(after[part] == before[part] == 1 for part in kept)
        assert all(after[part] == before[part] + 1 for part in {0, 1} - kept)
        found.append(len(kept))

    kills = kill_everywhere(lambda _root: None, six, check)
    assert kills == 5 * (1 + 4 + 1)  # each file's five points: plan, two parts, removed, manifest
    assert found == sorted(found)
    assert set(found) == {0, 1, 2}


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    again = run(tmp_path)
    assert (again.kept, again.removed, again.measured) == (first.kept, first.removed, {})
    assert Made(10, tmp_path / "ledger").paid() == {0: 1, 1: 1, 2: 1}
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_other_work_in_the_folder_is_refused_with_the_differences(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError) as caught:
        run(tmp_path, count=11, steps=steps(loud=2))
    said = str(caught.value)
    assert 'source: made with "made 10"; asked for "made 11"' in said
    assert "steps[0].settings.loud: made with 1; asked for 2; name a new folder" in said
    assert texts(tmp_path / "out") == WANTED
    run(tmp_path, count=11, steps=steps(loud=2), rerun=True)
    assert texts(tmp_path / "out") == [*WANTED, "TEXT 10"]


def test_files_of_somebody_else_are_never_removed(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years")
    for rerun in (False, True):
        with pytest.raises(InputError, match=r"holds other files, such as thesis\.txt"):
            run(tmp_path, rerun=rerun)
    assert os.listdir(tmp_path / "out") == ["thesis.txt"]


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    run(tmp_path)
    (tmp_path / "out/part-00001.parquet").unlink()
    with pytest.raises(CorruptError, match=r"part-00001\.parquet is missing"):
        run(tmp_path)


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / ".out.lock"), pytest.raises(StorageError, match="in use by another"):
        run(tmp_path)


def test_a_step_that_loses_a_record_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(LostRecords, match=r"'lose' neither kept nor removed 1 of 4 .* 'd3'"):
        run(tmp_path, steps=[flow.Step("lose", lose)])


def test_any_file_is_cut_and_finished_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    tables.write(tmp_path / "x.jsonl", [document(n) for n in range(10)])
    cut = flow.source_of(tmp_path / "x.jsonl", Document, tmp_path / "work", size=4)
    assert [len(cut.read(part)) for part in range(len(cut))] == [4, 4, 2]
    assert texts(cut.folder) == [f"text {n}" for n in range(10)]
    assert flow.source_of(cut.folder, Document, tmp_path / "no") == cut
    assert not (tmp_path / "no").exists()
    report = flow.run(cut, tmp_path / "out", steps(), Document)
    assert report.kept == 9


def test_a_cut_killed_anywhere_goes_on(kill_everywhere: Any, tmp_path: Path) -> None:
    tables.write(tmp_path / "x.jsonl", [document(n) for n in range(6)])

    def cut(root: Path) -> None:
        flow.cut(tmp_path / "x.jsonl", Document, root / "parts", size=4)

    cut(tmp_path)
    wanted = contents(tmp_path / "parts")

    def check(root: Path) -> None:
        cut(root)
        assert contents(root / "parts") == wanted

    assert kill_everywhere(lambda _root: None, cut, check) == 5 * (1 + 2 + 1)


def test_bad_rows_stop_the_cut_with_their_place(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"text": 3}\n')
    with pytest.raises(InputError, match=r"x\.jsonl:2:text: found 3"):
        flow.cut(tmp_path / "x.jsonl", Document, tmp_path / "parts")
    assert not (tmp_path / "parts/manifest.json").exists()


def test_where_work_is_done_is_read_from_a_word() -> None:
    assert flow.Executor.parse("3") == flow.Executor(workers=3)
    assert flow.Executor.parse("ray") == flow.Executor(kind="ray", workers=2)
    there = flow.Executor.parse("ray:10.0.0.1:6379")
    assert (there.kind, there.address) == ("ray", "10.0.0.1:6379")
    for bad in ("0", "many", "-1", ""):
        with pytest.raises(InputError, match="a number of processes, ray"):
            flow.Executor.parse(bad)
