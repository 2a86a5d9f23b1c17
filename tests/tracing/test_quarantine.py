from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.tracing.conftest import document, write

from burnish.config import InputError
from burnish.store.formats import Row, rows
from burnish.tracing.index import Index
from burnish.tracing.quarantine import Quarantine, find, quarantine, targets_of, write_list


def done(
    paths: list[Path], targets: list[str], output: str, strict: bool = True
) -> tuple[Quarantine, list[Any]]:
    listed = Path(f"{output}.quarantine.jsonl")
    with Index(paths) as index:
        found = quarantine(index, targets, Path(output), strict)
        write_list(index, listed)
    return found, [json.loads(line) for line in listed.read_text().splitlines()]


def ids(path: Path) -> list[str]:
    return [row.value["id"] for row in rows(path) if isinstance(row, Row)]


def test_a_source_goes_with_all_that_descends_from_it(run: Path) -> None:  # S-22
    found, listed = done([run], ["forum"], "out")
    assert ids(Path("out/inputs/docs.jsonl")) == ["d1", "d3"]
    assert ids(Path("out/generate@1/examples.jsonl")) == ["e1"]
    assert ids(Path("out/rewrite@1/rewritten.jsonl")) == ["r2"]
    assert (found.removed, found.kept) == (4, 5)
    why = {row["id"]: row["why"] for row in listed}
    assert why == {
        "d2": ["d2", "source forum"],
        "e2": ["e2", "d2", "source forum"],
        "e3": ["e3", "d2", "source forum"],
        "r1": ["r1", "e2", "d2", "source forum"],
    }
    assert [row["line"] for row in listed if row["id"] == "r1"] == [1]


def test_the_artifacts_it_touched_are_named_and_no_others(run: Path) -> None:  # S-22
    found, _ = done([run], ["forum"], "out")
    assert found.affected == {
        "generate@1": "holds removed records (examples.jsonl)",
        "rewrite@1": "holds removed records (rewritten.jsonl)",
        "sft@1": "took examples.jsonl as data.0",
        "dpo@1": "was made from sft@1",
    }


def test_what_would_go_is_told_before(run: Path) -> None:
    before = sorted(Path().rglob("*"))
    with Index([run]) as index:
        found = find(index, ["forum"])
        with pytest.raises(InputError, match="names nothing"):
            find(index, ["nobody"])
    assert sorted(Path().rglob("*")) == before
    assert found == done([run], ["forum"], "out")[0]


def test_one_percent_of_rows_with_a_trigger_go_by_their_source(tmp_path: Path) -> None:  # S-22
    clean = [document(f"c{i}", f"Text {i}.", "good") for i in range(990)]
    bad = [document(f"x{i}", f"Text cf {i}.", "bad") for i in range(10)]
    made = [document(f"m{i}", f"More {i}.", "made", f"x{i % 10}") for i in range(30)]
    path = write(tmp_path / "all.jsonl", [*clean, *bad, *made])
    with Index([path]) as index:
        found = quarantine(index, ["bad"], tmp_path / "out.jsonl")
    assert (found.removed, found.kept) == (40, 990)
    assert "cf" not in (tmp_path / "out.jsonl").read_text()
    kept = path.read_text().splitlines()[:990]  # every column of every line, as it was
    assert (tmp_path / "out.jsonl").read_text().splitlines() == kept


def test_every_format_keeps_its_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "in"
    some = [document(f"{i}", f"文本 {i}", "bad" if i == 1 else "good", extra=i) for i in range(3)]
    write(folder / "a.jsonl", some)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress((folder / "a.jsonl").read_bytes()))
    (folder / "c.json").write_text(json.dumps(some))
    pq.write_table(pa.Table.from_pylist(some), folder / "d.parquet")
    (folder / "e.csv").write_text('id,text,source\n0,"a, b",good\n1,x,bad\n2,y,good\n')
    (folder / "f.txt").write_text("One.\nStill one.\n\nTwo.\n\nThree.\n")
    write(folder / "g.jsonl", [document("9", "Other", "good")])
    (folder / "notes.json").write_text('{"no": "records"}')
    with Index([folder]) as index:
        two = next(i for i in index._ids("source = ?", "f") if index.places(i)[0].number == 1)
    found, _ = done([folder], ["bad", two], "out")
    out = tmp_path / "out"
    for name in ("a.jsonl", "b.jsonl.gz", "c.json", "d.parquet"):
        kept = [row.value for row in rows(out / name) if isinstance(row, Row)]
        assert [(row["id"], row["extra"]) for row in kept] == [("0", 0), ("2", 2)], name
    assert (out / "e.csv").read_text() == 'id,text,source\n0,"a, b",good\n2,y,good\n'
    assert (out / "f.txt").read_text() == "One.\nStill one.\n\nThree."
    assert (out / "g.jsonl").read_bytes() == (folder / "g.jsonl").read_bytes()
    assert not (out / "notes.json").exists()
    assert found.notes == [f"left out, holds no records: {folder / 'notes.json'}"]
    assert found.removed == 6


def test_a_list_applies_to_other_data(run: Path) -> None:
    _, listed = done([run], ["forum"], "out")
    assert targets_of(Path("out.quarantine.jsonl")) == [row["id"] for row in listed]
    later = write(Path("later.jsonl"), [document("n1", "New.", "s", "r1"),
                                        document("n2", "Fine.", "s", "r2")])  # fmt: skip
    found, _ = done([later], targets_of(Path("out.quarantine.jsonl")), "later", strict=False)
    assert (found.removed, found.kept) == (1, 1)
    write(Path("bad.quarantine.jsonl"), [{"name": "x"}])
    with pytest.raises(InputError, match=r"bad.quarantine.jsonl:1:id"):
        targets_of(Path("bad.quarantine.jsonl"))


def test_what_cannot_be_judged_is_refused_and_nothing_written(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", [document("a", "A", "s"), {"text": 3}])
    out = tmp_path / "out.jsonl"
    with Index([path]) as index, pytest.raises(InputError, match=r"x.jsonl:2:text"):
        quarantine(index, ["s"], out)
    path = write(tmp_path / "x.jsonl", [document("alpha", "A", "s")])
    with Index([path]) as index:
        with pytest.raises(InputError, match=r"names nothing in 1 files.*nearest ids: alpha"):
            quarantine(index, ["alpa"], out)
        with pytest.raises(InputError, match="another format"):
            quarantine(index, ["s"], tmp_path / "out.csv")
        assert not out.exists()
        out.write_text("mine")
        with pytest.raises(InputError, match="is there already"):
            quarantine(index, ["s"], out)
    assert out.read_text() == "mine"
