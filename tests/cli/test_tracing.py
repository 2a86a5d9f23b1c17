"""``data why``, ``diff``, ``quarantine``, ``sample``, ``unblind`` and ``stats --html``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.tracing.conftest import document, run, write

__all__ = ["run"]


@pytest.fixture
def there(run: Path, burnish: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """``burnish`` in the folder that holds the run, docs.jsonl and clean.jsonl."""
    monkeypatch.chdir(run.parents[1])
    return burnish


def test_why_shows_the_way_from_a_record_to_its_source(there: Any) -> None:  # S-22
    said = there("data", "why", "r1").out  # all runs of runs/ by default
    lines = said.splitlines()
    assert lines[0].startswith("r1  example, bulk, en")
    for shown in (
        "└─ e2", "└─ d2", "dump.jsonl:7  where it was imported from", "source   forum",
        "made by  generate@1 (curate.generate, round 0)", "model    base@1", "judge judge-x",
        "filters  min_reward 0.3", "scores   fluency 0.4", "docs.jsonl:2",
    ):  # fmt: skip
        assert shown in said
    below = there("data", "why", "d2", "runs/one").out
    assert "descendants  3" in below
    assert "models       sft@1 · dpo@1" in below
    found = json.loads(there("data", "why", "d2", "runs/one", "--json").out)
    assert found["models"] == ["sft@1", "dpo@1"]
    assert found["record"]["places"] == ["docs.jsonl:2"]


def test_why_of_what_is_not_there(there: Any) -> None:
    refused = there("data", "why", "e9", "runs/one")
    assert refused.code == 2
    assert "no record of this id" in refused.err
    assert "e1" in refused.err
    assert there("data", "why", "e1", "--runs", "elsewhere").code == 2
    assert there("data", "why", "e1", "gone.jsonl").code == 2


def test_control_characters_do_not_reach_the_terminal(there: Any) -> None:
    evil = document("x\x1b[31m", "Hi \x1b]0;owned\x07", "s\x1b[2J")
    write(Path("evil.jsonl"), [evil, document("y", "Y", "s", "x\x1b[31m")])
    for command in (("why", "y", "evil.jsonl"), ("diff", "clean.jsonl", "evil.jsonl")):
        said = there("data", *command).out
        assert "\x1b" not in said
        assert "\\u001b" in said


def test_quarantine_and_its_list(there: Any) -> None:  # S-22
    said = there("data", "quarantine", "forum", "runs/one", "-o", "out").out
    assert "4 records removed, 5 kept → out" in said
    assert "sft@1" in said
    assert "other@1" not in said
    again = there("data", "quarantine", "out.quarantine.jsonl", "docs.jsonl", "-o", "d.jsonl")
    assert again.code == 0
    assert [json.loads(row)["id"] for row in Path("d.jsonl").read_text().splitlines()] == [
        "d1",
        "d3",
    ]
    found = json.loads(
        there("data", "quarantine", "d1", "docs.jsonl", "-o", "e.jsonl", "--json").out
    )
    assert found["named"] == {"d1": 1}
    refused = there("data", "quarantine", "nobody", "docs.jsonl", "-o", "f.jsonl")
    assert refused.code == 2
    assert "names nothing" in refused.err
    assert not Path("f.jsonl").exists()


def test_diff_shows_counts_changes_and_phrases(there: Any) -> None:
    rows = [document(f"{i}", f"word{i % 7} and more", "s") for i in range(200)]
    changed = [{**row, "text": f"zorblax {row['text']}"} for row in rows[:10]]
    write(Path("a.jsonl"), rows)
    write(Path("b.jsonl"), [*changed, *rows[10:], document("new", "全新", "t")])
    said = there("data", "diff", "a.jsonl", "b.jsonl").out
    assert "only in A 0 · only in B 1 · in both 200" in said
    assert "changed    text 10" in said
    assert "zorblax" in said
    found = json.loads(there("data", "diff", "a.jsonl", "b.jsonl", "--json").out)
    assert found["triggers"]["new texts of B against A"]["found"][0]["phrase"] == "zorblax"
    assert there("data", "diff", "a.jsonl", "gone.jsonl").code == 2


def test_the_page_in_both_languages(there: Any) -> None:
    assert there("data", "stats", "docs.jsonl", "--html", "en.html").code == 0
    assert "3 records" in Path("en.html").read_text()
    assert there("data", "stats", "docs.jsonl", "--html", "zh.html", "--lang", "zh").code == 0
    assert "3 条记录" in Path("zh.html").read_text()


def test_sample_and_unblind(there: Any) -> None:
    pairs = [{"id": f"{i}", "prompt": "Q", "chosen": "a", "rejected": "b"} for i in range(5)]
    write(Path("p.jsonl"), pairs)
    drawn = there("data", "sample", "p.jsonl", "-n", "3", "--annotators", "wu,李", "-o", "s.jsonl")
    assert "3 records of 1 strata → s.jsonl, key → s.key.jsonl" in drawn.out
    rows = [json.loads(row) for row in Path("s.jsonl").read_text().splitlines()]
    write(Path("s.jsonl"), [{**row, "label_李": "first"} for row in rows])
    assert "label_wu 0 · label_李 3" in there("data", "unblind", "s.jsonl", "-o", "l.jsonl").out
    joined = [json.loads(row) for row in Path("l.jsonl").read_text().splitlines()]
    assert {row["judge"] for row in joined} <= {"first", "second"}
    assert there("data", "sample", "p.jsonl", "--annotators", "a,a", "-o", "s.jsonl").code == 2
    assert there("data", "sample", "p.jsonl", "-o", "s.csv").code == 2
