"""A signal in the middle of a run: exit code 3, and the same command ends where it would have."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.loop.mini import write_recipe
from tests.loop.rounds import SURE, one_fit

from burnish.config.progress import Field, SilentProgress
from burnish.loop.recipe import load
from burnish.loop.run import run
from burnish.store.artifacts import ArtifactStore

Mini = tuple[Path, dict[str, Any]]


def start(recipe: Path, runs: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "burnish.cli.main", "run", str(recipe), "--runs", str(runs)]
    return subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for_steps(metrics: Path, steps: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and len(metrics.read_text().splitlines()) >= steps:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {steps} steps in time, exit {process.poll()}")


def test_a_run_stopped_by_a_signal_goes_on_to_the_same_weights(mini: Mini, tmp_path: Path) -> None:
    #
    folder, value = mini
    short = copy.deepcopy(value)
    short["name"] = "cut"
    short["prepare"]["sft"]["train"] = {"max_steps": 400, "segments_per_step": 4, "epochs": 50}
    short["round"] = {}
    short["figures"] = {}
    path = write_recipe(folder, short)
    process = start(path, tmp_path)
    wait_for_steps(tmp_path / "cut" / "metrics.jsonl", 40, process)
    os.kill(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said.decode()
    summary = json.loads((tmp_path / "cut" / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert list((tmp_path / "cut" / "scratch").glob("sft-*/step-*"))

    again = start(path, tmp_path)
    answer, said = again.communicate(timeout=120)
    assert again.returncode == 0, said.decode()
    states = {s["name"]: s["state"] for s in json.loads(answer)["stages"]}
    assert states == {"pretrain": "reused", "sft": "done"}

    whole = start(path, tmp_path / "whole")
    whole.communicate(timeout=120)
    places = (tmp_path / "cut", tmp_path / "whole" / "cut")
    for name in ("pretrain", "sft"):
        weights = [
            (ArtifactStore(place).get(name).path / "model.safetensors").read_bytes()
            for place in places
        ]
        assert weights[0] == weights[1]
    rows = [
        [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
        for place in places
    ]
    timed = {"seconds", "tokens_per_second"}
    cut, uncut = ([{k: v for k, v in row.items() if k not in timed} for row in r] for r in rows)
    assert cut == uncut


class Fatal(SilentProgress):
    """Ends its process without a word at the tenth step of a fit."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.steps = 0

    def task(self, label: str, total: int | None) -> Fatal:
        self.steps = -(10**9) if label != self.label else 0
        return self

    def advance(self, n: int = 1, **fields: Field) -> None:
        self.steps += n
        if self.steps >= 10:
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_round_in_which_the_process_was_killed_is_carried_on_and_promoted(
    mini: Mini, tmp_path: Path
) -> None:
    # the second round's fit dies in the middle; nothing else is told to the loop.
    folder, value = mini
    fit = {"run": "fit.sft", "data": ["sft.jsonl"], "train": SURE}
    recipe = load(write_recipe(folder, one_fit(value, "killed", fit, count=1)))
    child = os.fork()
    if child == 0:
        try:
            run(recipe, tmp_path, progress=Fatal("fit"))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    killed = tmp_path / "killed"
    assert json.loads((killed / "summary.json").read_text())["status"] == "running"
    assert [made.ref for made in ArtifactStore(killed).list()] == ["sft@1", "before@1"]

    again, whole = run(recipe, tmp_path), run(recipe, tmp_path / "whole")
    states = {stage["name"]: stage["state"] for stage in again.summary["stages"]}
    assert (states["sft"], states["before"], states["fit"]) == ("reused", "reused", "done")
    assert again.summary["champion"] == "fit@1"
    assert again.summary["verdicts"] == whole.summary["verdicts"]
    weights = [(r.artifact("fit").path / "model.safetensors").read_bytes() for r in (again, whole)]
    assert weights[0] == weights[1]
