"""Scores by topic from an evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.config import InputError
from burnish.evals import tasks
from burnish.evals.tasks import Response, Task, TaskSettings
from burnish.evals.topics import read_scores, topic_scores
from burnish.records import Prompt
from burnish.sampling import Completion


def response(item: str, outcome: str, **changes: Any) -> Response:
    fields: dict[str, Any] = {
        "task": "quiz", "metric": "right", "dimension": "capability", "higher_is_better": True,
        "item_id": item, "group": "", "lang": "en", "source": "x", "category": "",
        "messages": [{"role": "user", "content": "Capital of Peru?"}],
        "verify": {"kind": "answer", "answers": ["Lima"]},
        "reply": "Lima" if outcome == "right" else "Cusco", "finish": "stop", "tokens": 1,
        "outcome": outcome,
    }  # fmt: skip
    return Response(**(fields | changes))


def test_topic_then_category_then_task() -> None:
    found = topic_scores(
        [
            response("1", "right", topic="cities"),
            response("2", "wrong", topic="cities", category="places"),
            response("3", "wrong", category="places"),
            response("4", "right"),
        ]
    )
    assert {name: (f.value, f.n) for name, f in found.items()} == {
        "cities": (0.5, 2), "places": (0.0, 1), "quiz": (1.0, 1),
    }  # fmt: skip
    assert found["cities"].low < 0.5 < found["cities"].high


def test_more_is_better_whatever_the_metric_and_items_count_once() -> None:
    bad = response("1", "wrong", metric="wrong", higher_is_better=False, topic="t")
    good = replace(bad, item_id="2", outcome="right")
    other = replace(good, item_id="3")
    assert topic_scores([bad, good, good, other])["t"].value == pytest.approx(2 / 3)
    assert topic_scores([bad, bad])["t"].n == 1


def test_an_answered_item_keeps_its_topic(tmp_path: Path) -> None:
    class Says:
        def complete(self, requests: Any, sampling: Any, progress: Any = None) -> list[Completion]:
            return [Completion([], [], "Lima", "stop") for _ in requests]

    item = Prompt(
        id="1", messages=[{"role": "user", "content": "Capital of Peru?"}], topic="cities",
        verify={"kind": "answer", "answers": ["Lima"]},
    )  # fmt: skip
    responses = tasks.answer(Says(), [Task(TaskSettings(name="quiz", data=["x"]), [item])])
    tasks.write(tmp_path / "responses.jsonl", responses)
    for path in (tmp_path, tmp_path / "responses.jsonl"):
        assert read_scores(path)["cities"].value == 1.0


def test_scores_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"a": 0.4, "b": {"value": 0.2, "low": 0.1, "high": 0.3, "n": 9}}))
    found = read_scores(path)
    assert (found["a"].value, found["a"].low, found["a"].n) == (0.4, 0.4, 0)
    assert (found["b"].value, found["b"].high, found["b"].n) == (0.2, 0.3, 9)
    for text, message in (
        ('{"a": 1.5}', "a: found 1.5"),
        ('{"a": true}', "a: found True"),
        ('{"a": {"mean": 0.5}}', "a: found"),
        ("[1]", "no scores by topic"),
        ("{", "cannot be read"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_scores(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_scores(tmp_path / "none.json")
