from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def write(name: str, *rows: dict[str, Any]) -> None:
    Path(name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def test_a_table_of_what_was_taken_and_a_word_on_the_rest(burnish: Any) -> None:
    write(
        "alpaca.jsonl",
        {"instruction": "Capital of Peru?", "output": "Lima.", "rating": 5},
        {"instruction": "秘鲁的首都？", "output": "利马。"},
        {"foo": 1},
    )
    Path("zh.txt").write_bytes("利马是秘鲁的首都，也是最大的城市。".encode("gb18030"))
    done = burnish("data", "import", "alpaca.jsonl", "zh.txt", "-o", "mine", "--tier", "selected")
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines()[:4]]
    assert rows == [
        ["layout", "kind", "lang", "records"],
        ["text", "document", "zh", "1"],
        ["Alpaca", "example", "en", "1"],
        ["Alpaca", "example", "zh", "1"],
    ]
    assert "zh.txt: converted from gb18030" in done.out
    assert "columns left out: rating (1)" in done.out
    assert "1 rejected; see mine/rejected.jsonl" in done.err
    assert "alpaca.jsonl:3: unknown columns: foo" in done.err
    stats = json.loads(burnish("data", "stats", "mine/example", "--json").out)
    assert (stats["records"], stats["tier"]) == (2, {"selected": 2})


def test_json_says_all_of_it(burnish: Any) -> None:
    write("x.jsonl", {"prompt": "Hi", "completion": "Ho"}, {"text": "a"}, {"text": "a"})
    done = burnish("data", "import", "x.jsonl", "-o", "mine", "--human", "--lang", "zh", "--json")
    found = json.loads(done.out)
    assert (found["output"], found["records"], found["rejected"]) == ("mine", 2, 1)
    assert (found["repeated"], found["kinds"]) == (1, {"example": 1, "document": 1})
    assert found["languages"] == {"zh": 2}
    assert found == {"output": "mine"} | json.loads(Path("mine/import.json").read_text())


def test_marks_and_kind(burnish: Any) -> None:
    write("x.jsonl", {"text": "a", "prompt": "b"})
    args = ("--kind", "document", "--source", "web", "--synthetic")
    assert burnish("data", "import", "x.jsonl", "-o", "mine", *args).code == 0
    stats = json.loads(burnish("data", "stats", "mine/document", "--json").out)
    assert (stats["source"], stats["synthetic"]) == ({"web": 1}, 1)


def test_a_local_data_set(burnish: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    Path("set").mkdir()
    write("set/train.jsonl", {"prompt": "Hi", "completion": "Ho"})
    done = burnish("data", "import", "hf://./set#train", "-o", "mine", "--json")
    assert json.loads(done.out)["layouts"] == {"prompt + completion": 1}
    assert burnish("data", "import", "hf://./set#dev", "-o", "other").code == 2


def test_exit_codes(burnish: Any) -> None:
    """2 where nothing could be taken, where an input is missing and where OUT exists."""
    write("x.jsonl", {"foo": 1})
    refused = burnish("data", "import", "x.jsonl", "-o", "mine")
    assert refused.code == 2
    assert "nothing was imported" in refused.err
    assert burnish("data", "import", "gone.jsonl", "-o", "mine").code == 2
    assert not Path("mine").exists()
    write("x.jsonl", {"text": "a"})
    assert burnish("data", "import", "x.jsonl", "-o", "mine").code == 0
    again = burnish("data", "import", "x.jsonl", "-o", "mine")
    assert again.code == 2
    assert "mine:--out: exists already" in again.err
