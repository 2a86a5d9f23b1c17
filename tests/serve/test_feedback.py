"""Feedback on served replies: what it becomes, once, and after a restart."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from burnish.cli.main import invoke
from burnish.records import Feedback, Preference
from burnish.store import tables
from burnish.store.registry import Registry

from .conftest import metrics, running, served


def test_feedback_becomes_records(folder: Path, tmp_path: Path) -> None:
    with running([served("one", folder)], tmp_path) as there:
        answer = there.chat("Hello", n=2, seed=1, user="ann").json()
        key = answer["id"]
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        first = there.post("/v1/feedback", id=key, thumbs="up", comment="fine")
        assert first.json() == {"object": "feedback", "id": key, "stored": True}
        assert not there.post("/v1/feedback", id=key, thumbs="down").json()["stored"]  # one vote
        assert there.post("/v1/feedback", id=key, choice=1, thumbs="down").json()["stored"]
        assert there.post("/v1/feedback", id=key, thumbs="down", user="bob").json()["stored"]
        assert there.post("/v1/feedback", id=key, better="Hi Ann.").json()["stored"]
        assert there.post("/v1/feedback", id="chatcmpl-0", thumbs="up").status_code == 404
        assert there.post("/v1/feedback", id=key, choice=2, thumbs="up").status_code == 404
        assert there.post("/v1/feedback", id=key).status_code == 400
        assert there.post("/v1/feedback", id=key, thumbs="up", better="x").status_code == 400
        assert 'burnish_feedback_total{arm="one",kind="feedback"} 3.0' in metrics(there)
    assert invoke(["feedback", "--runs", str(tmp_path), "--out", str(tmp_path / "f.jsonl")]) == 0
    kept = tables.read(tmp_path / "f.jsonl", Feedback)
    assert [row.label for row in kept] == [True, False, False]
    assert kept[0].prompt == [{"role": "user", "content": "Hello"}]
    replies = [row.completion[0]["content"] for row in kept]
    assert replies == [texts[0], texts[1], texts[0]]
    assert all(row.source == "serve" and row.parents == (key,) for row in kept)
    out = ["--out", str(tmp_path / "p.jsonl"), "--kind", "preference"]
    assert invoke(["feedback", "--runs", str(tmp_path), *out]) == 0
    (pair,) = tables.read(tmp_path / "p.jsonl", Preference)
    assert pair.chosen[0]["content"] == "Hi Ann."
    assert pair.rejected[0]["content"] == texts[0]
    with Registry(tmp_path / "registry.sqlite") as registry:
        assert [row.content["user"] for row in registry.feedback()] == ["ann", "ann", "bob", "ann"]
        assert {row.ref for row in registry.feedback()} == {"one"}


def test_feedback_after_a_restart(folder: Path, tmp_path: Path) -> None:
    with running([served("one", folder)], tmp_path, remembered=3) as there:
        answers = [there.chat(f"Hello {n}", seed=n, user="ann").json() for n in range(5)]
        hidden = there.post("/v1/completions", model="one", prompt="a secret").json()["id"]
    with running([served("one", folder)], tmp_path, remembered=3) as there:

        def status(key: str) -> int:
            return int(there.post("/v1/feedback", id=key, thumbs="up").status_code)

        assert [status(one["id"]) for one in answers] == [404, 404, 200, 200, 200]
        assert status(hidden) == 404
    with Registry(tmp_path / "registry.sqlite") as registry:
        rows = registry.feedback()
    said = [row.content["record"]["completion"][0]["content"] for row in rows]
    assert said == [one["choices"][0]["message"]["content"] for one in answers[2:]]
    assert rows[0].content["record"]["prompt"] == [{"role": "user", "content": "Hello 2"}]
    assert {(row.ref, row.content["user"], row.content["arm"]) for row in rows} == {
        ("one", "ann", "one")
    }
    kept = tmp_path / "answered.sqlite"
    assert kept.stat().st_mode & 0o077 == 0
    assert b"Hello 0" not in kept.read_bytes()  # forgotten is overwritten


def test_nothing_is_kept_where_it_must_not_be(folder: Path, tmp_path: Path) -> None:
    with running([served("one", folder)], tmp_path, keep=False) as there:
        key = there.chat("Hello").json()["id"]
        assert there.post("/v1/feedback", id=key, thumbs="up").json()["stored"]
        assert there.post("/v1/feedback", id="chatcmpl-0", thumbs="up").status_code == 404
    assert not (tmp_path / "answered.sqlite").exists()


def test_an_answer_that_cannot_be_kept_is_given(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "answered.sqlite").mkdir()
    with running([served("one", folder)], tmp_path) as there:
        key = there.chat("Hello").json()["id"]
        assert there.post("/v1/feedback", id=key, thumbs="up").json()["stored"]
        assert there.post("/v1/feedback", id="chatcmpl-0", thumbs="up").status_code == 503
    assert "is not kept" in caplog.text


def test_feedback_sent_twice_counts_once(folder: Path, tmp_path: Path) -> None:
    with running([served("one", folder)], tmp_path) as there:
        key = there.chat("Hello").json()["id"]

        def send(number: int) -> bool:
            body = {"id": key, "thumbs": "up", "user": f"user {number % 2}"}
            headers = {"idempotency-key": "the same"}
            answer = there.http.post("/v1/feedback", json=body, headers=headers)
            return bool(answer.json()["stored"])

        with ThreadPoolExecutor(20) as pool:
            assert sum(pool.map(send, range(20))) == 1
    with Registry(tmp_path / "registry.sqlite") as registry:
        assert len(registry.feedback()) == 1
