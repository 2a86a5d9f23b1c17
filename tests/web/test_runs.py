from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from starlette.testclient import TestClient

from burnish.loop import control
from burnish.store import lock
from burnish.store.metrics import Follower
from burnish.web.live import changes
from burnish.web.pages.runs import looked
from burnish.web.run_view import RunView
from burnish.web.site import Site

from .conftest import OWN
from .world import lines, make_run

HOLD = """
import sys, time
from burnish.store import lock
with lock.held(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(site: Site) -> Path:
    return make_run(site.runs, "demo")


def test_without_runs_the_page_says_how_to_start_one(person: TestClient) -> None:
    assert "burnish run quickstart" in person.get("/runs").text


def test_the_list_says_how_far_each_run_is(person: TestClient, folder: Path) -> None:
    page = person.get("/runs").text
    assert '<a href="/runs/demo">demo</a>' in page
    assert "interrupted" in page
    assert "2 of 4" in page  # first and second are done, other failed, third waits
    assert "first@1" in page


def test_stages_and_their_states(folder: Path) -> None:
    view = RunView(folder)
    states = {stage.name: (stage.round, stage.state) for stage in view.stages()}
    assert states == {
        "first": (0, "done"), "second": (1, "done"), "other": (1, "failed"),
        "third": (1, "waiting"),
    }  # fmt: skip
    # The champion of the first round is what the recipe says it is.
    assert set(view.edges()) == {("second", "first"), ("third", "second")}
    assert view.status == "interrupted"


def test_a_run_without_process_and_end_has_died(folder: Path) -> None:
    lines(folder / "events.jsonl", [{"event": "run_started"},
          {"event": "stage_started", "round": 2, "stage": "second", "run": "fit.dpo"}])  # fmt: skip
    view = RunView(folder)
    assert view.status == "died"
    assert view.stages()[-2].state == "died"


def test_a_repeated_step_counts_once(folder: Path) -> None:
    lines(folder / "metrics.jsonl", [{"stage": "first", "round": 0, "step": 29, "loss": 7.0}])
    rows = RunView(folder).curves()["first", 0]
    assert (len(rows), rows[-1]["loss"]) == (29, 7.0)


def test_one_run_in_both_languages(person: TestClient, folder: Path) -> None:
    page = person.get("/runs/demo").text
    for part in ("boom", "round 1", "it said Hello", "printed Hello", "+0.250", "second · Loss"):
        assert part in page, part
    assert "/runs/demo/resume" in page
    assert "/runs/demo/stop" not in page
    chinese = person.get("/runs/demo", headers={"accept-language": "zh"}).text
    assert "流程" in chinese
    assert "损失" in chinese


def test_only_runs_of_the_list_are_found(person: TestClient, site: Site, folder: Path) -> None:
    (site.runs.parent / "recipe.yaml").write_text("secret: 1")
    for name in ("%2e%2e%2f", "demo%2f..", "nothing", "registry.sqlite"):
        assert person.get(f"/runs/{name}").status_code == 404, name


def test_curves_of_two_runs_lie_over_each_other(
    person: TestClient, site: Site, folder: Path
) -> None:
    make_run(site.runs, "later")
    page = person.get("/curves?run=demo&run=later").text
    assert page.count("first · Loss") == 2  # heading and label
    assert "<i></i>demo" in page
    assert "<i></i>later" in page
    assert "no stage and metric in common" in person.get("/curves?run=demo").text
    assert person.get("/curves?run=demo&run=other").status_code == 404


def test_changes_are_told_as_they_come(site: Site, folder: Path) -> None:
    async def follow() -> tuple[set[str], dict[str, str]]:
        view = RunView(folder)
        told = changes(site, lambda: looked(view, "en"))
        first = {json.loads((await anext(told))[6:])["part"] for _ in range(6)}
        lines(folder / "metrics.jsonl", [{"stage": "new", "round": 1, "step": 1, "reward": 1.0},
              {"stage": "new", "round": 1, "step": 2, "reward": 2.0}])  # fmt: skip
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"stage": "torn", "rou')
        while not (line := await anext(told)).startswith("data: "):
            continue
        row = json.loads(line[6:])
        site.stopping.set()
        assert [line async for line in told] == []  # a stopping server ends its streams
        return first, row

    first, row = asyncio.run(follow())
    assert first == {"state", "pipeline", "alerts", "curves", "samples", "log"}
    assert row["part"] == "curves"
    assert row["html"].index("new · Reward") < row["html"].index("first · Loss")
    assert "torn" not in row["html"]


def test_what_was_said_last_is_shown(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "demo", "in the fit")
    assert [one.reply for one in RunView(folder).samples()] == ["in the fit"]
    responses = folder / "artifacts" / "evaluate@1" / "responses.jsonl"
    lines(responses, [{"prompt": f"ask {n}", "reply": f"say {n}"} for n in range(12)])
    os.utime(responses, (2e9, 2e9))
    assert [one.reply for one in RunView(folder).samples()] == [f"say {n}" for n in range(0, 12, 2)]
    os.utime(folder / "samples.jsonl", (3e9, 3e9))
    assert [one.source for one in RunView(folder).samples()] == ["second · 1"]


def test_a_log_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    follower = Follower(path)
    assert follower.read() is False
    lines(path, [{"a": 1}, {"a": 2}])
    assert follower.read() is True
    assert follower.read() is False
    path.unlink()
    lines(path, [{"a": 3}])
    assert follower.read() is True
    assert follower.rows == [{"a": 3}]
    path.unlink()
    assert (follower.read(), follower.rows) == (True, [])


@pytest.fixture
def working(folder: Path) -> Any:
    """A process that holds the run's lock."""
    command = [sys.executable, "-c", HOLD, str(folder / control.LOCK)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_stopping_a_run(person: TestClient, folder: Path, working: Any) -> None:
    assert f"process {working.pid}" in person.get("/runs/demo").text
    # One that runs is not started a second time.
    assert person.post("/runs/demo/resume", headers=OWN).status_code == 400
    assert person.post("/runs/demo/stop", headers=OWN).status_code == 303
    assert working.wait(10) == -15
    refused = person.post("/runs/demo/stop", headers=OWN)
    assert refused.status_code == 400
    assert "no process works on this run" in refused.text


def test_no_other_process_is_stopped(folder: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as innocent:
        # The number is left of a process that is gone, and was given to another one since.
        (folder / control.LOCK).write_text(str(innocent.pid))
        assert control.process_of(folder) is None
        # The lock is held, but not by the process whose number stands there.
        with lock.held(folder / control.LOCK):
            assert control.process_of(folder) == psutil.Process(os.getpid())
            (folder / control.LOCK).write_text(str(innocent.pid))
            assert control.process_of(folder) is None
            (folder / control.LOCK).write_text("nothing")
            assert control.process_of(folder) is None
        assert innocent.poll() is None
        innocent.kill()


def test_resuming_a_run(
    person: TestClient, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$@" "${BURNISH_UI_TOKEN-unset}" "$OTHER"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("BURNISH_UI_TOKEN", "canary-of-the-token")
    monkeypatch.setenv("OTHER", "kept")
    assert person.post("/runs/demo/resume", headers=OWN).status_code == 303
    expected = f"-m burnish run {folder}/recipe.yaml --runs {folder.parent} unset kept"
    until = time.monotonic() + 10
    while expected not in (folder / "run.log").read_text() and time.monotonic() < until:
        time.sleep(0.02)
    assert expected in (folder / "run.log").read_text()
    # S-15: whatever the log says, no page shows a secret.
    lines(folder / "run.log", [{"token": "canary-of-the-token"}])
    page = person.get("/runs/demo").text
    assert "[hidden]" in page
    assert "canary" not in page


def test_the_report_is_a_file(person: TestClient, folder: Path) -> None:  # S-14
    assert person.get("/runs/demo/report").status_code == 404
    (folder / "report.html").write_text("<script>1</script>")
    answer = person.get("/runs/demo/report")
    assert answer.headers["content-disposition"] == 'attachment; filename="demo-report.html"'


def test_alarms_of_a_fit_under_way(site: Site) -> None:
    from burnish.web.alerts import alerts

    folder = make_run(site.runs, "policy")
    (folder / "recipe.yaml").write_text(
        "name: policy\nmodel: burnish-tiny\nprepare:\n"
        '  fit: {run: fit.grpo, model: "@base", prompts: [a.jsonl]}\n'
    )
    lines(folder / "events.jsonl",
          [{"event": "stage_started", "round": 0, "stage": "fit", "run": "fit.grpo"}])  # fmt: skip
    row = {"stage": "fit", "round": 0, "phase_step": 1, "reward": 0.5, "reward_std": 0.1,
           "flat": 0.0, "length": 10.0, "kl": 0.1, "entropy": 2.0}  # fmt: skip
    lines(folder / "metrics.jsonl", [row | {"step": 1, "phase": 0},
          row | {"step": 2, "phase": 1, "entropy": 0.1}])  # fmt: skip
    said = alerts(RunView(folder), "en")
    assert any("fit · round 0: Phase 2: entropy fell to 0.1" in sentence for sentence in said)
    assert any("第 2 阶段" in sentence for sentence in alerts(RunView(folder), "zh"))
