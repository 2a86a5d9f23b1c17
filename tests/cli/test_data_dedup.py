from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TURNS = [("Say hello to my friend over there", "Hello, my dear friend"), ("Count", "1 2 3")]


def write(path: str) -> None:
    rows = [{"prompt": q, "completion": a} for q, a in (*TURNS, (TURNS[0][0].upper(), TURNS[0][1]))]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_one_of_two_that_differ_in_case_stays(burnish: Any) -> None:
    write("x.jsonl")
    done = burnish("data", "dedup", "x.jsonl", "-o", "out")
    assert done.code == 0, done.err
    assert "out: 2 records kept, 1 near duplicates removed" in done.out
    found = json.loads(burnish("data", "stats", "out", "--json").out)
    assert (found["kind"], found["records"]) == ("example", 2)
    assert sorted(path.name for path in Path().iterdir()) == ["out", "x.jsonl"]
    again = burnish("data", "dedup", "x.jsonl", "-o", "out", "--json")
    assert json.loads(again.out) == {"kept": 2, "removed": 1, "folder": "out"}


def test_other_settings_and_bad_ones_are_refused(burnish: Any) -> None:
    write("x.jsonl")
    assert burnish("data", "dedup", "x.jsonl", "-o", "out").code == 0
    other = burnish("data", "dedup", "x.jsonl", "-o", "out", "--near", "0.9")
    assert other.code == 2
    assert "threshold: made with 0.7; asked for 0.9" in other.err
    assert burnish("data", "dedup", "x.jsonl", "-o", "out", "--near", "0.9", "--rerun").code == 0
    for option, bad, said in (
        ("--near", "7", "above 0 and at most 1"),
        ("--workers", "some", "a number of processes"),
    ):
        assert said in burnish("data", "dedup", "x.jsonl", "-o", "y", option, bad).err
    assert not Path("y").exists()
