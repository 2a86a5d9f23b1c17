from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.engine import fits

from burnish.config import InputError, Interrupted
from burnish.engine import DatasetSource, StepInfo, train


def evaluations() -> Any:
    return lambda: {"loss": 1.0}


# C-06 windows of a 23-record epoch: steps 6 and 12 are the short last ones.
@pytest.mark.parametrize("cut", [6, 8, 12], ids=["epoch end", "mid-epoch", "last step"])
def test_resumed_fit_is_bit_for_bit_the_uninterrupted_one(cut: int, tmp_path: Path) -> None:
    #
    changes = {"eval_every": 3}
    whole = fits.model()
    result = fits.fit(
        whole,
        changes,
        scratch=tmp_path / "a",
        metrics=tmp_path / "a.jsonl",
        evaluate=evaluations(),
        on_step=lambda info: "mark" if info.step == 5 else None,
    )

    def watch(info: StepInfo) -> Any:
        fits.interrupt_at(cut)(info)
        return "mark" if info.step == 5 else None

    arguments = {
        "scratch": tmp_path / "b",
        "metrics": tmp_path / "b.jsonl",
        "evaluate": evaluations(),
    }
    with pytest.raises(Interrupted, match=f"SIGINT after step {cut} of 12"):
        fits.fit(fits.model(), changes, on_step=watch, **arguments)
    again = fits.model(seed=99)
    second = fits.fit(again, changes, on_step=lambda info: None, **arguments)
    assert fits.same(fits.weights(whole), fits.weights(again))
    groups, state = fits.saved(tmp_path / "a")
    other_groups, other_state = fits.saved(tmp_path / "b")
    assert all(fits.same(groups[name], other_groups[name]) for name in groups)
    assert state == other_state
    assert fits.logged(tmp_path / "a.jsonl") == fits.logged(tmp_path / "b.jsonl")
    assert (result.steps, result.tokens) == (second.steps, second.tokens)
    assert len(second.history) == 12


# Windows of 5, 2 | 3, 3, 2 | 8: step 2 ends the first phase, 8 the second epoch's first.
@pytest.mark.parametrize("cut", [1, 2, 8], ids=["in a phase", "phase end", "next epoch"])
def test_windows_by_phase_resume_bit_for_bit(cut: int, tmp_path: Path) -> None:
    #
    chosen = fits.settings()
    phases = [2 - i % 3 for i in range(23)]

    def run(trained: Any, folder: Path, **arguments: Any) -> None:
        source = DatasetSource(
            fits.segments(23), chosen, seed=5, phases=phases, sizes={0: 5, 1: 3, 2: 8}
        )
        train(trained, source, fits.nll, chosen, seed=7, scratch=folder / "s",
              metrics=folder / "m.jsonl", **arguments)  # fmt: skip

    whole, again = fits.model(), fits.model(seed=99)
    run(whole, tmp_path / "a")
    with pytest.raises(Interrupted, match=f"after step {cut} of 12"):
        run(fits.model(), tmp_path / "b", on_step=fits.interrupt_at(cut))
    run(again, tmp_path / "b")
    assert fits.same(fits.weights(whole), fits.weights(again))
    assert fits.logged(tmp_path / "a/m.jsonl") == fits.logged(tmp_path / "b/m.jsonl")


def test_killed_fit_repeats_the_steps_after_its_last_checkpoint(tmp_path: Path) -> None:
    # nothing is saved on the way out, and rows of lost steps are not kept.
    def die(info: StepInfo) -> None:
        if info.step == 9:
            raise KeyError("as if killed")

    whole, again = fits.model(), fits.model()
    fits.fit(whole, metrics=tmp_path / "a.jsonl")
    arguments = {"scratch": tmp_path / "s", "metrics": tmp_path / "b.jsonl"}
    with pytest.raises(KeyError):
        fits.fit(fits.model(), {"save_steps": 4}, on_step=die, **arguments)
    with (tmp_path / "b.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    fits.fit(again, {"save_steps": 4}, **arguments)
    assert fits.same(fits.weights(whole), fits.weights(again))
    assert fits.logged(tmp_path / "a.jsonl") == fits.logged(tmp_path / "b.jsonl")


def test_best_and_marked_weights_survive_an_interruption(tmp_path: Path) -> None:
    script = {3: 1.0, 6: 2.0, 9: 3.0, 12: 4.0}
    model = fits.model()
    at: dict[int, Any] = {}

    def run(trained: Any, cut: int) -> None:
        step = 0

        def watch(info: StepInfo) -> Any:
            nonlocal step
            step = info.step
            at.setdefault(step, fits.weights(trained))
            fits.interrupt_at(cut)(info)

        def evaluate() -> dict[str, float]:
            done = -(-(step + 1) // 3) * 3
            return {"loss": script[done]}

        fits.fit(trained, {"eval_every": 3}, scratch=tmp_path, on_step=watch, evaluate=evaluate)

    with pytest.raises(Interrupted):
        run(model, 7)
    again = fits.model(seed=4)
    run(again, 99)
    assert fits.same(fits.weights(again), at[3])


def test_other_settings_are_refused(tmp_path: Path) -> None:
    #
    with pytest.raises(Interrupted):
        fits.fit(fits.model(), on_step=fits.interrupt_at(3), scratch=tmp_path)
    with pytest.raises(InputError, match="settings: this step checkpoint is of a fit with other"):
        fits.fit(fits.model(), {"learning_rate": 0.5}, scratch=tmp_path)
    with pytest.raises(InputError, match="seed"):
        fits.fit(fits.model(), seed=8, scratch=tmp_path)
    with pytest.raises(InputError, match="weights"):
        fits.fit(fits.model(hidden_size=32), scratch=tmp_path)
    fits.fit(fits.model(), {"save_seconds": 5.0}, scratch=tmp_path)


def test_without_scratch_an_interruption_says_so() -> None:
    with pytest.raises(Interrupted, match="nothing was saved"):
        fits.fit(fits.model(), on_step=fits.interrupt_at(3))


SCRIPT = """
import sys, time
from pathlib import Path
import torch
from burnish.config import BurnishError
from burnish.engine import DatasetSource, TrainSettings, train
from burnish.objectives.types import Loss
from burnish.text.batches import Segment

seconds, steps, folder = float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
settings = TrainSettings(epochs=steps, segments_per_step=4)
source = DatasetSource([Segment([i, i, i], [True] * 3, str(i)) for i in range(4)], settings, seed=0)
torch.manual_seed(0)
model = torch.nn.Embedding(4, 2)

def loss(model, batch):
    (folder / "began").touch()
    time.sleep(seconds)
    values = model(batch.tokens)[batch.targets]
    return Loss((values ** 2).sum(), batch.targets.sum())

try:
    print(train(model, source, loss, settings, seed=0, scratch=folder / "s").steps)
except BurnishError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start(seconds: float, steps: int, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, str(seconds), str(steps), str(folder)]
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=one_thread)
    while not (folder / "began").exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_sigterm_finishes_the_step_saves_and_resumes(tmp_path: Path) -> None:
    #
    process = start(0.05, 40, tmp_path)
    time.sleep(0.3)
    process.terminate()
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 3
    assert "stopped by SIGTERM after step" in told
    again = start(0.0, 40, tmp_path)
    told, _ = again.communicate(timeout=120)
    assert (again.returncode, told.strip()) == (0, "40")


def test_second_signal_ends_at_once(tmp_path: Path) -> None:
    #
    process = start(30.0, 2, tmp_path)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 3
    assert time.monotonic() - began < 5
