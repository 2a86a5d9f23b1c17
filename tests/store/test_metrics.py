from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from burnish.store.errors import StorageError
from burnish.store.metrics import Metrics


def test_append_and_read(tmp_path: Path) -> None:
    log = Metrics(tmp_path / "run" / "metrics.jsonl")
    assert log.read() == []
    log.append({"step": 1, "loss": 0.5, "note": "中"})
    log.append({"step": 2, "loss": math.nan, "nested": {"a": [1, math.inf]}})
    assert log.read() == [
        {"step": 1, "loss": 0.5, "note": "中"},
        {"step": 2, "loss": None, "nested": {"a": [1, None]}},
    ]
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 2


def test_torn_at_each_byte(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    first, last = b'{"step": 1, "loss": 2.5}\n', '{"step": 2, "note": "中 }{"}\n'.encode()
    for cut in range(len(last) + 1):
        path.write_bytes(first + last[:cut])
        whole = [{"step": 1, "loss": 2.5}]
        if cut >= len(last) - 1:
            whole.append({"step": 2, "note": "中 }{"})
        assert Metrics(path).read() == whole
        Metrics(path).append({"step": 3})
        assert Metrics(path).read() == [*whole, {"step": 3}]
        assert path.read_bytes().endswith(b'\n{"step": 3}\n')


def test_resumed_log_is_byte_for_byte_the_same(tmp_path: Path) -> None:
    def write(log: Metrics, steps: range) -> None:
        for step in steps:
            log.append({"stage": "sft", "step": step, "loss": 1 / (step + 1)})

    straight, resumed = Metrics(tmp_path / "a"), Metrics(tmp_path / "b")
    straight.append({"stage": "data", "rows": 3})
    write(straight, range(1, 11))

    resumed.append({"stage": "data", "rows": 3})
    write(resumed, range(1, 8))
    with resumed.path.open("ab") as file:
        file.write(b'{"stage": "sft", "st')
    resumed.truncate_after(4, {"stage": "sft"})
    write(resumed, range(5, 11))
    assert resumed.path.read_bytes() == straight.path.read_bytes()


def test_truncate_leaves_other_stages(tmp_path: Path) -> None:
    log = Metrics(tmp_path / "m")
    log.truncate_after(3)
    assert not log.path.exists()
    rows = [{"stage": "a", "step": 9}, {"stage": "b", "step": 1}, {"stage": "b", "step": 2}]
    for row in rows:
        log.append(row)
    assert log.truncate_after(1, {"stage": "b"}) == rows[1:2]
    assert log.read() == rows[:2]
    log.truncate_after(0)
    assert log.read() == []


def test_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b'[1]\n\n"x"\n\xff\xfe\n{"step": 1}\n' + b"[" * 100_000)
    assert Metrics(path).read() == [{"step": 1}]


def test_kill_loses_at_most_the_line_in_hand(kill_everywhere) -> None:
    def check(root: Path) -> None:
        assert [row["step"] for row in Metrics(root / "m").read()] in ([1, 2], [1])

    def prepare(root: Path) -> None:
        for step in (1, 2):
            Metrics(root / "m").append({"step": step})

    assert kill_everywhere(prepare, lambda root: Metrics(root / "m").truncate_after(1), check) == 5


def test_full_disk(small_disk: Path) -> None:
    log = Metrics(small_disk / "m")
    log.append({"step": 1})
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096))
    with pytest.raises(StorageError, match=r"m: the disk is full: 0\.0 MiB free"):
        log.append({"note": "x" * 8192})
    assert log.read() == [{"step": 1}]
    (small_disk / "filler").unlink()
    log.append({"step": 2})
    assert [json.dumps(row) for row in log.read()] == ['{"step": 1}', '{"step": 2}']
