"""Imports that are killed, stopped, run twice or out of disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sources.test_import import ASK, SAY, lines, take

from burnish.config import InputError
from burnish.records import Document
from burnish.sources import importing
from burnish.sources.convert import Marks
from burnish.store import atomic, tables
from burnish.store.errors import StorageError


def test_two_imports_to_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / ".out.import"
    work.mkdir()
    connect = sqlite3.connect
    other = connect(work / "state.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, **k, timeout=0.01))
    with pytest.raises(StorageError, match="in use by another import"):
        take(tmp_path, lines(tmp_path / "x.jsonl", {"text": "a"}))
    other.close()


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def prepare(root: Path) -> None:
    """Two files: with two rows to a commit, parts of two kinds and a bad row."""
    lines(root / "a.jsonl", {"messages": [ASK, SAY]}, {"bad": 1}, {"text": "a3"})
    lines(root / "b.jsonl", {"bad": 1})


def begin(root: Path) -> None:
    importing.run(["a.jsonl", "b.jsonl"], Path("out"), Marks())


def test_killed_anywhere_the_next_start_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_everywhere: Any
) -> None:
    """A kill at every step of writing; what was committed before it is not worked out again."""
    monkeypatch.setattr(importing, "PART_ROWS", 2)
    whole = tmp_path / "whole"
    whole.mkdir()
    prepare(whole)
    monkeypatch.chdir(whole)
    begin(whole)
    expected = snapshot(whole / "out")
    parts = [name for name in expected if name.endswith("parquet")]
    assert parts == ["document/part-00000.parquet", "example/part-00000.parquet"]

    def check(root: Path) -> None:
        monkeypatch.chdir(root)
        if (root / "out").exists():
            with pytest.raises(InputError, match="exists already"):
                begin(root)
        else:
            begin(root)
        assert snapshot(root / "out") == expected
        assert sorted(path.name for path in root.iterdir()) == ["a.jsonl", "b.jsonl", "out"]

    def operation(root: Path) -> None:
        monkeypatch.chdir(root)
        begin(root)

    assert kill_everywhere(prepare, operation, check) > 25


def test_an_interrupted_import_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART_ROWS", 2)
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    converted: list[str] = []
    convert = importing.convert

    def counted(row: Any, marks: Any, title: str, place: str) -> Any:
        if len(converted) == 3:
            converted.append("stop")
            raise KeyboardInterrupt
        converted.append(place)
        return convert(row, marks, title, place)

    monkeypatch.setattr(importing, "convert", counted)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path)
    begin(tmp_path)
    first, rest = converted[:3], converted[4:]
    assert first == ["a.jsonl:1", "a.jsonl:2", "a.jsonl:3"]
    # The third row was dealt with and not yet committed.
    assert rest == ["a.jsonl:3", "b.jsonl:1"]


def test_stopped_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was rejected after a commit is listed once, however often the import is stopped."""
    monkeypatch.setattr(importing, "PART_ROWS", 1)
    monkeypatch.chdir(tmp_path)
    lines(tmp_path / "x.jsonl", {"text": "a"}, *({"bad": n} for n in range(4)))
    for n in (2, 1, 1):
        with monkeypatch.context() as patch:
            calls = iter(range(n))

            def stop(_name: str, calls: Iterator[int] = calls) -> None:
                if _name == "commit" and next(calls, None) is None:
                    raise KeyboardInterrupt

            patch.setattr(atomic, "fault_point", stop)
            with pytest.raises(KeyboardInterrupt):
                importing.run(["x.jsonl"], Path("out"), Marks())
    importing.run(["x.jsonl"], Path("out"), Marks())
    found = [json.loads(line) for line in Path("out/rejected.jsonl").read_text().splitlines()]
    assert [row["line"] for row in found] == [2, 3, 4, 5]


def test_other_inputs_start_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun with other files or marks is not mixed into the new import."""
    monkeypatch.setattr(importing, "PART_ROWS", 1)
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            importing.Output, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            begin(tmp_path)
    importing.run(["a.jsonl"], Path("out"), Marks(tier="expert"))
    found = tables.read("out/document", Document)
    assert [(d.text, d.tier) for d in found] == [("a3", "expert")]


def test_full_disk(small_disk: Path, tmp_path: Path) -> None:
    rows = [{"text": "".join(chr(0x4E00 + (n * 7 + i * i) % 20000) for i in range(20_000))}
            for n in range(99)]  # fmt: skip
    path = lines(tmp_path / "x.jsonl", *rows)
    with pytest.raises(StorageError, match="the disk is full"):
        importing.run([str(path)], small_disk / "out", Marks())
    assert not (small_disk / "out").exists()
