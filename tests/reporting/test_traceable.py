"""Every figure of the report follows from the raw replies of the evaluations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.loop.mini import recipe_value, write_recipe

from burnish.evals.tasks import recompute
from burnish.loop.recipe import load
from burnish.loop.run import run
from burnish.records import Figure
from burnish.reporting import render
from burnish.reporting.names import show
from burnish.reporting.rundata import RESPONSES, read_run

Evaluations = dict[str, dict[str, Figure]]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two rounds: instructions, replies to several tasks, a gate."""
    folder = tmp_path_factory.mktemp("traceable")
    value = recipe_value(folder)
    tasks: list[dict[str, Any]] = [
        {"name": "capitals", "data": "eval.jsonl", "dimension": "capability"},
        {"name": "wrong", "data": "eval.jsonl", "metric": "wrong", "dimension": "alignment"},
        {"name": "harmful_refused", "data": "guard.jsonl", "metric": "refused",
         "dimension": "safety"},
    ]  # fmt: skip
    # Enough to get some capitals right, and not all: figures that differ between models.
    train = {"max_steps": 9, "segments_per_step": 8, "learning_rate": 5e-3, "epochs": 20}
    first = {**value["prepare"]["sft"], "model": "@base", "heldout": 0, "train": train}
    value["prepare"] = {"sft": first}
    kept = {name: value["round"][name] for name in ("before", "safety", "after", "gate", "promote")}
    kept["safety"] = {**first, "model": "@champion"}
    for stage in ("before", "after"):
        kept[stage] |= {"tasks": tasks, "sampling": {"temperature": 0, "max_new_tokens": 12}}
    policy = {"target": ["capitals"], "guards": {"general": 5.0}}
    kept["gate"] |= {"policy": policy}
    value |= {
        "round": kept,
        "rounds": {"count": 2, "champion": "@sft", "patience": 2},
        "figures": {
            "knowledge": "final.capitals",
            "confident_wrong_before": "start.wrong",
            "confident_wrong_after": "final.wrong",
            "harmful_refused": "final.harmful_refused",
        },
    }
    return run(load(write_recipe(folder, value)), folder / "runs").folder


@pytest.fixture(scope="module")
def evaluations(finished: Path) -> Evaluations:
    """By model, its figures from raw replies alone; of a model evaluated twice, the first."""
    found: Evaluations = {}
    for path in sorted((finished / "artifacts").glob("*/artifact.json")):
        record = json.loads(path.read_text())
        if record["stage"] == "measure.evaluate":
            again = recompute(path.parent / RESPONSES, record["config"]["seed"])
            found.setdefault(record["details"]["model"], again)
    return found


def interval(figure: Figure) -> str:
    low, value, high = (show(v, "share") for v in (figure.low, figure.value, figure.high))
    return f"{value} [{low}, {high}]"


def test_before_and_after(finished: Path, evaluations: Evaluations) -> None:
    champion = read_run(finished).summary["champion"]
    page = render(finished)
    for label, task in (
        ("knowledge", "capitals"),
        ("Confident wrong answers", "wrong"),
        ("Harmful prompts refused", "harmful_refused"),
    ):
        (row,) = re.findall(rf"<tr><td>{label}</td><td>\w+</td>(.*?)</tr>", page)
        cells = re.findall(r"<td class=\"num\">(.*?)</td>", row)
        assert cells[0] == interval(evaluations["sft@1"][task])
        assert cells[1] == interval(evaluations[champion][task])


def test_rounds_and_candidates(finished: Path, evaluations: Evaluations) -> None:
    run_data = read_run(finished)
    candidates = run_data.candidates("knowledge")
    assert set(candidates) == {"1", "2"}
    for number, point in candidates.items():
        figure = evaluations[f"safety@{number}"]["capitals"]
        assert (point.value, point.low, point.high) == (figure.value, figure.low, figure.high)
    first = run_data.series["knowledge"][0]
    again = evaluations["sft@1"]["capitals"]
    assert (first.value, first.low, first.high) == (again.value, again.low, again.high)


def test_the_gates_table(finished: Path, evaluations: Evaluations) -> None:
    page = render(finished)
    last = page.split('id="gate"')[-1].split("</section>")[0].rsplit("<table>", 1)[1]
    (row,) = re.findall(r"<tr><td>knowledge</td><td>must improve</td>(.*?)</tr>", last)
    before, after = re.findall(r"<td class=\"num\">(.*?)</td>", row)[:2]
    assert after == show(evaluations["safety@2"]["capitals"].value, "share")
    assert before in {show(found["capitals"].value, "share") for found in evaluations.values()}


def test_stored_outcomes_are_not_what_is_recomputed(finished: Path, tmp_path: Path) -> None:
    (source,) = (finished / "artifacts").glob("before@1/responses.jsonl")
    rows = [json.loads(line) for line in source.read_text().splitlines()]
    for row in rows:
        row["reply"] = (row["verify"].get("answers") or ["no"])[0]
    other = tmp_path / RESPONSES
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert recompute(other)["capitals"].value == 1.0
    assert recompute(source)["capitals"].value < 1.0
