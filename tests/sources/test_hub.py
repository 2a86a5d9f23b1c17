from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.config import InputError
from burnish.sources import hub


def test_references() -> None:
    assert hub.parse("hf://openai/gsm8k") == hub.HubRef("openai/gsm8k")
    assert hub.parse("hf://openai/gsm8k:main#test") == hub.HubRef("openai/gsm8k", "main", "test")
    assert str(hub.HubRef("a/b", "c", "d")) == "hf://a/b:c#d"
    for bad in ("hf://", "hf://a:b:c", "hf://a#b#c", "hf://a#b:c"):
        with pytest.raises(InputError, match="no data set's name"):
            hub.parse(bad)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    data = tmp_path / "set"
    data.mkdir()
    for split, rows in (("train", [1, 2]), ("test", [3])):
        text = "".join(json.dumps({"text": f"no {n}", "tags": [{"n": n}]}) + "\n" for n in rows)
        (data / f"{split}.jsonl").write_text(text)
    return data


def test_a_local_data_set(folder: Path) -> None:
    """Without a split it is train; lists of objects stay lists of objects."""
    rows = list(hub.rows(hub.parse(f"hf://{folder}")))
    assert [row.value for row in rows] == [
        {"text": "no 1", "tags": [{"n": 1}]}, {"text": "no 2", "tags": [{"n": 2}]}
    ]  # fmt: skip
    assert [row.where for row in rows] == ["[0]", "[1]"]
    (row,) = hub.rows(hub.parse(f"hf://{folder}#test"))
    assert row.value["text"] == "no 3"


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="no split 'dev'; one of #train, #test"):
        list(hub.rows(hub.parse(f"hf://{folder}#dev")))
    with pytest.raises(InputError, match="BuilderConfig 'x' not found"):
        list(hub.rows(hub.parse(f"hf://{folder}:x")))
    (folder / "train.jsonl").rename(folder / "validation.jsonl")
    with pytest.raises(InputError, match="no split named; one of #"):
        list(hub.rows(hub.parse(f"hf://{folder}")))


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"hf://a/b: the hub cannot be reached.*local copy"):
        list(hub.rows(hub.parse("hf://a/b")))
