from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

ROWS = {
    "example": {"messages": [{"role": "user", "content": "Hi"},
                             {"role": "assistant", "content": "Ho"}]},
    "preference": {"prompt": [{"role": "user", "content": "Hi"}],
                   "chosen": [{"role": "assistant", "content": "Hello"}],
                   "rejected": [{"role": "assistant", "content": "Go"}]},
    "feedback": {"prompt": "Hi", "completion": "Hello", "label": False},
    "prompt": {"messages": [{"role": "user", "content": "Hi"}], "verify": {"kind": "comply"}},
    "document": {"text": "Hi"},
}  # fmt: skip


def write(name: str, *rows: dict[str, Any]) -> None:
    Path(name).write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")


@pytest.mark.parametrize("kind", list(ROWS))
def test_the_kind_is_found_out(burnish: Any, kind: str) -> None:
    write("x.jsonl", ROWS[kind])
    found = json.loads(burnish("data", "stats", "x.jsonl", "--json").out)
    assert found["kind"] == kind
    assert found["records"] == 1


def test_lengths_and_languages_are_counted(burnish: Any) -> None:
    write("x.jsonl", {"text": "four"}, {"text": "天地玄黄宇宙"}, {"text": "ab"})
    found = json.loads(burnish("data", "stats", "x.jsonl", "--json").out)
    assert found["characters"] == {"total": 12, "least": 2, "median": 4, "most": 6}
    assert found["lang"] == {"en": 2, "zh": 1}
    assert "lang" in burnish("data", "stats", "x.jsonl").out


def test_check_names_every_bad_row_and_counts_the_rest(burnish: Any) -> None:
    write("x.jsonl", ROWS["example"], *[{"messages": 3}] * 25)
    refused = burnish("data", "check", "x.jsonl", "--kind", "example")
    assert refused.code == 2
    assert "x.jsonl:2:" in refused.err
    assert "and 5 more problems" in refused.err
    write("x.jsonl", ROWS["example"])
    assert "1 example records, nothing wrong" in burnish("data", "check", "x.jsonl").out


def test_files_that_hold_nothing_known(burnish: Any) -> None:
    write("x.jsonl", {"foo": 1})
    assert burnish("data", "stats", "x.jsonl").code == 2
    assert burnish("data", "check", "gone.jsonl").code == 2
