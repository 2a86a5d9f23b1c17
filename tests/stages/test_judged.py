"""``measure.judge``: grades as a metric, and a gate that takes no judge people disagree with."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.serving import grades, serving
from tests.stages.fits import context

from burnish.config import InputError
from burnish.evals import tasks
from burnish.evals.compare import JUDGED, item_values, judged
from burnish.evals.tasks import Response
from burnish.records import Example
from burnish.sampling import EndpointSettings
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.measure import gate, judge

ITEMS = 40


def place(folder: Path, name: str) -> Context:
    (folder / name).mkdir()
    quick = EndpointSettings(pause=0.001, longest_pause=0.001, attempts=2, concurrency=1)
    made = context(folder / name)
    return replace(made, endpoint=quick, cache=folder / "cache", scratch=folder / "scratch")


def evaluation(folder: Path, reply: str) -> Path:
    folder.mkdir()
    found = [
        Response(
            task="chat", metric="refused", dimension="safety", higher_is_better=True,
            item_id=str(n), group=f"g{n}", lang="en", source="x", category="",
            messages=[{"role": "user", "content": f"Why {n}?"}], verify=None,
            reply=reply if n % 4 else "odd one", finish="stop", tokens=1,
        )
        for n in range(ITEMS)
    ]  # fmt: skip
    tasks.write(folder / "responses.jsonl", found)
    return folder


def labelled(folder: Path, agree: bool) -> Path:
    rows = []
    for n in range(40):
        good = n % 2 == 0
        turns = [{"role": "user", "content": "?"},
                 {"role": "assistant", "content": "good" if good else "poor"}]  # fmt: skip
        grade = 5 if good == agree else 1
        record = Example(id=f"l{n}", messages=turns)  # type: ignore[arg-type]
        rows.append({**vars(record), "ann": grade, "bob": grade})
    path = folder / f"labels-{agree}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def graded(folder: Path, name: str, reply: str, agree: bool | None) -> tuple[Path, Outcome]:
    """An evaluation whose replies a stub grades: good 1, poor 0, odd ones not at all."""
    with serving(grades) as server:
        settings: dict[str, Any] = {"model": server.ref}
        inputs = {"evaluation": [str(evaluation(folder / f"{name}-raw", reply))],
                  "judge.model": [server.ref]}  # fmt: skip
        if agree is not None:
            labels = labelled(folder, agree)
            settings["labels"] = {"data": "l", "annotators": ["ann", "bob"]}
            inputs["judge.labels.data"] = [str(labels)]
        config = judge.Config.model_validate({"evaluation": "e", "judge": settings})
        where = place(folder, name)
        return where.output, judge.run(config, Inputs(inputs), where)


def decide(folder: Path, before: Path, after: Path) -> Outcome:
    policy = {"target": ["judged"], "max_missing": 0.5, "min_items": 20}
    config = gate.Config.model_validate({"before": "b", "after": "a", "policy": policy})
    inputs = Inputs({"before": [str(before)], "after": [str(after)]})
    return gate.run(config, inputs, place(folder, f"gate-{after.parent.name}"))


def test_grades_of_a_judge_people_agree_with_may_promote(tmp_path: Path) -> None:
    before, _ = graded(tmp_path, "before", "poor", True)
    after, made = graded(tmp_path, "after", "good", True)
    assert made.figures["judged"].value == 1
    assert made.figures["judged"].n == ITEMS * 3 // 4
    assert made.details["missing"] == ITEMS // 4  # a reply without a verdict is no 0
    assert made.details["may_decide"] is True
    values, groups = item_values(after)
    assert set(values) == {"chat", "judged"}
    assert groups["judged"]["1"] == "g1"
    assert decide(tmp_path, before, after).details["decision"] == "promoted"


@pytest.mark.parametrize("agree", [False, None])
def test_the_gate_refuses_any_other_judge_by_name(tmp_path: Path, agree: bool | None) -> None:
    before, _ = graded(tmp_path, "before", "poor", agree)
    after, made = graded(tmp_path, "after", "good", agree)
    assert made.figures["judged"].value == 1  # reported all the same
    assert made.details["may_decide"] is False
    why = "the judge may agree with people by -" if agree is False else "no labels of people say"
    with pytest.raises(InputError, match=rf"judged: graded by http.*#m, which may not .*{why}"):
        decide(tmp_path, before, after)
    assert judged(after)["judged"]["judge"].endswith("#m")


def test_unknown_tasks_and_taken_names_are_errors(tmp_path: Path) -> None:
    folder = evaluation(tmp_path / "e", "good")
    config = judge.Config.model_validate(
        {"evaluation": "e", "judge": {"model": "m"}, "name": "chat", "tasks": ["other"]}
    )
    with pytest.raises(InputError) as caught:
        judge.run(config, Inputs({"evaluation": [str(folder)]}), place(tmp_path, "x"))
    assert [problem.found for problem in caught.value.problems] == [
        "no task 'other'", "'chat' is a task"
    ]  # fmt: skip
    assert not (tmp_path / "x" / "output" / JUDGED).exists()
