"""Rounds: promoted, sabotaged, failed and remembered, ended early, by budget or by a crash loop."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.loop.mini import write_recipe, write_rows
from tests.loop.rounds import SURE, idle, one_fit

from burnish.config import InputError
from burnish.evals import tasks
from burnish.loop import crew
from burnish.loop.budget import Budget, spent
from burnish.loop.check import check
from burnish.loop.recipe import load
from burnish.loop.run import run
from burnish.reporting.names import show
from burnish.store.artifacts import ArtifactStore
from burnish.store.registry import Registry

Mini = tuple[Path, dict[str, Any]]


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def test_an_honest_round_is_promoted_and_a_sabotaged_one_is_not(mini: Mini, tmp_path: Path) -> None:
    folder, value = mini
    fit = {"run": "fit.sft", "data": ["sft.jsonl"], "train": SURE}
    good = run(load(write_recipe(folder, one_fit(value, "honest", fit))), tmp_path)
    verdict = good.summary["verdicts"][0]
    assert (verdict["decision"], good.summary["champion"]) == ("promoted", "fit@1")
    # Measured against the champion before it was replaced: after, it would be 0.
    assert verdict["gain"] > 0.5
    assert events(good.folder)[-2]["gain"] == verdict["gain"]

    # What the report shows is made of the raw responses, and of nothing else.
    html = (good.folder / "report.html").read_text(encoding="utf-8")
    for stage, name in (("before", "capitals_before"), ("after", "capitals_after")):
        artifact = good.artifact(stage)
        again = tasks.recompute(artifact.path / "responses.jsonl")
        assert artifact.figures == again
        assert good.summary["figures"].items() >= again["capitals"].flat(name).items()
        assert show(again["capitals"].value, "share") in html

    # The same labels, flipped: what was right is now the rejected reply.
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    flipped = [p | {"chosen": p["rejected"], "rejected": p["chosen"]} for p in pairs]
    write_rows(folder / "flipped.jsonl", flipped)
    train = SURE | {"max_steps": 20}
    fit = {"run": "fit.dpo", "data": ["flipped.jsonl"], "train": train}
    bad = one_fit(value, "sabotaged", fit)
    bad["prepare"]["sft"]["train"] = SURE
    result = run(load(write_recipe(folder, bad)), tmp_path)
    verdict = result.summary["verdicts"][0]
    assert (verdict["decision"], result.summary["champion"]) == ("kept", "sft@1")
    assert verdict["gain"] < -0.3
    with Registry(tmp_path / "registry.sqlite") as registry:
        assert registry.verdicts()[-1].decision == "kept"
        assert registry.get(str(registry.alias("champion"))).path.startswith(str(good.folder))


def test_two_rounds_without_a_gain_end_the_loop(mini: Mini, tmp_path: Path) -> None:
    folder, value = mini
    result = run(load(write_recipe(folder, idle(value, "idle", count=5))), tmp_path)
    assert len(result.summary["verdicts"]) == 2
    assert result.summary["stopped"] == "2 rounds in a row gained less than 0.01"
    told = events(result.folder)
    assert [row["sequence"] for row in told] == list(range(1, len(told) + 1))
    kinds = [row["event"] for row in told]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_ended")
    assert kinds.count("round_started") == kinds.count("round_ended") == 2
    ends = [row for row in told if row["event"] == "stage_ended"]
    assert [row["stage"] for row in ends][:3] == ["sft", "before", "fit"]
    assert ends[1]["figures"]["capitals"]["n"] == 40
    assert ends[1]["sampled_tokens"] > 0 == ends[1]["trained_tokens"]
    assert ends[2]["trained_tokens"] > 0 == ends[2]["sampled_tokens"]
    # The champion did not change: its second measurement is the first.
    assert [row["state"] for row in ends if row["stage"] == "before"] == ["done", "reused"]
    longer = run(load(write_recipe(folder, idle(value, "idle", count=5, patience=3))), tmp_path)
    assert len(longer.summary["verdicts"]) == 3


def test_a_failed_round_is_remembered_once_a_later_one_went_on(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    #
    folder, value = mini
    recipe = load(write_recipe(folder, idle(value, "remembered", count=2)))
    real = crew.run

    def fails_once(call: Any, inputs: Any, context: Any) -> Any:
        if (call.name, context.round) == ("fit", 1):
            raise RuntimeError("out of luck")
        return real(call, inputs, context)

    monkeypatch.setattr(crew, "run", fails_once)
    first = run(recipe, tmp_path)
    decisions = [verdict["decision"] for verdict in first.summary["verdicts"]]
    assert decisions[0] == "failed"
    assert decisions[1] != "failed"
    assert "out of luck" in (first.folder / "failure-fit-1.txt").read_text()
    before = {a.ref: a.fingerprint for a in ArtifactStore(first.folder).list()}

    # The cause is gone, but the second round was made from the champion that stayed.
    monkeypatch.setattr(crew, "run", real)
    again = run(recipe, tmp_path)
    assert again.summary["verdicts"] == first.summary["verdicts"]
    assert {a.ref: a.fingerprint for a in ArtifactStore(first.folder).list()} == before
    assert again.summary["verdicts"][0]["reason"] == "fit: RuntimeError: out of luck"


def test_a_budget_ends_the_run_after_a_stage_and_a_higher_one_goes_on(
    mini: Mini, tmp_path: Path
) -> None:
    folder, value = mini
    short = idle(value, "budgeted", count=1) | {"budget": {"tokens": 1}}
    result = run(load(write_recipe(folder, short)), tmp_path)
    assert result.summary["status"] == "stopped"
    assert [stage["name"] for stage in result.summary["stages"]] == ["sft"]
    spent_tokens = result.summary["spent"]["tokens"]
    assert result.summary["stopped"] == (
        f"budget reached: {spent_tokens:,} tokens of 1 are spent; next would be before"
    )
    assert (result.folder / "report.html").is_file()
    enough = short | {"budget": {"tokens": 10_000_000, "hours": 10}}
    whole = run(load(write_recipe(folder, enough)), tmp_path)
    assert whole.summary["status"] == "done"
    assert whole.summary["stages"][0]["state"] == "reused"
    assert whole.summary["spent"]["tokens"] > spent_tokens


def test_money_is_counted_by_model_and_needs_a_price(mini: Mini) -> None:
    folder, value = mini
    rows = [
        {"event": "stage_ended", "seconds": 5.0, "served_tokens": {"a": [2_000_000, 500_000]}},
        {"event": "stage_ended", "state": "interrupted", "served_tokens": {"a": [0, 500_000]}},
        {"event": "round_ended"},
    ]
    budget = Budget(money=3.0, prices={"a": {"prompt": 0.5, "reply": 2.0}})  # type: ignore[dict-item]
    cost = spent(rows, budget.prices)
    assert (cost.money, cost.tokens, cost.seconds) == (3.0, 1_000_000, 5.0)
    assert cost.limit(budget) == "budget reached: 3 of 3.0 are spent on served models"
    assert cost.limit(Budget(money=3.5, tokens=10**7, hours=1)) is None
    dear = idle(value, "dear") | {"budget": {"money": 1.0}}
    dear["round"]["before"]["model"] = "http://127.0.0.1:9/v1#judge"
    said = [str(problem) for problem in check(load(write_recipe(folder, dear)))]
    assert any("budget.prices" in line and "judge" in line for line in said), said


def test_a_stage_that_kills_its_process_is_not_started_for_ever(
    mini: Mini, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    #
    folder, value = mini
    recipe = load(write_recipe(folder, idle(value, "deadly")))
    real = crew.run

    def dies(call: Any, inputs: Any, context: Any) -> Any:
        if call.name == "sft":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(call, inputs, context)

    monkeypatch.setattr(crew, "run", dies)
    for _ in range(3):
        child = os.fork()
        if child == 0:
            try:
                run(recipe, tmp_path)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    monkeypatch.setattr(crew, "run", real)
    with pytest.raises(InputError, match=r"died of it 3 times.*--rerun sft") as caught:
        run(recipe, tmp_path)
    assert "prepare.sft" in str(caught.value)
    assert run(recipe, tmp_path, rerun={"sft"}).summary["status"] == "done"
