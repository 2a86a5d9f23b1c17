from __future__ import annotations

import json
import logging
import math
import os
import pickle
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch

from burnish.config import EXIT_INPUT
from burnish.store import atomic, checkpoints, manifest
from burnish.store.errors import CorruptError, StorageError


def save(folder: Path, step: int, value: float = 0.0, keep: int = 2) -> Path:
    weights = {"w": torch.full((8, 8), value or float(step))}
    return checkpoints.save(
        folder, step, {"model": weights, "optimizer": {"m": torch.ones(4)}}, {"lr": 0.1}, keep
    )


def steps(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_round_trip(tmp_path: Path) -> None:
    folder = tmp_path / "scratch"
    assert checkpoints.newest(folder) is None
    state = {"lr": 0.1 + 0.2, "loss": math.nan, "name": "中", "order": [3, 1, 2]}
    checkpoints.save(folder, 12, {"model": {"a.b": torch.arange(3)}}, state)
    found = checkpoints.newest(folder)
    assert found is not None
    assert (found.step, found.path.name, found.skipped) == (12, "step-000012", ())
    assert found.state.pop("loss") != found.state
    assert found.state == {"lr": 0.30000000000000004, "name": "中", "order": [3, 1, 2]}
    assert torch.equal(found.tensors("model")["a.b"], torch.tensor([0, 1, 2]))
    with pytest.raises(CorruptError, match=r"reward\.safetensors: is missing"):
        found.tensors("reward")
    for group in ("../model", "", "a/b", "A"):
        with pytest.raises(ValueError, match="cannot be called"):
            found.tensors(group)


def test_keeps_the_last_k(tmp_path: Path) -> None:
    for step in (1, 2, 3, 1_000_000):
        save(tmp_path, step)
    assert steps(tmp_path) == ["step-000003", "step-1000000"]
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 1_000_000


def test_killed_save_finds_old_or_new(kill_everywhere) -> None:
    found_steps = []

    def check(root: Path) -> None:
        found = checkpoints.newest(root)
        assert found is not None
        assert found.skipped == ()
        assert torch.equal(found.tensors("model")["w"], torch.full((8, 8), float(found.step)))
        assert all(name.startswith("step-") for name in os.listdir(root))
        found_steps.append(found.step)

    def prepare(root: Path) -> None:
        save(root, 1)
        save(root, 2)

    kills = kill_everywhere(prepare, lambda root: save(root, 3), check)
    assert kills >= 12
    assert found_steps == sorted(found_steps)
    assert (found_steps[0], found_steps[-1]) == (2, 3)


def test_killed_save_over_the_same_step(kill_everywhere) -> None:
    values = []

    def check(root: Path) -> None:
        found = checkpoints.newest(root)
        assert found is not None
        values.append(found.tensors("model")["w"][0, 0].item())

    kill_everywhere(
        lambda root: save(root, 5, value=1.0), lambda root: save(root, 5, value=2.0), check
    )
    assert set(values) == {1.0, 2.0}
    assert values == sorted(values)


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "flipped": lambda path: path.write_bytes(path.read_bytes()[:-3] + b"\xff\xff\xff"),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(
    "file", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"]
)
def test_damaged_newest_is_passed_over(
    tmp_path: Path, damage: str, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    DAMAGE[damage](save(tmp_path, 2) / file)
    with caplog.at_level(logging.WARNING):
        found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 1
    assert found.tensors("model")["w"][0, 0] == 1
    assert len(found.skipped) == 1
    assert f"step-000002: {file}" in found.skipped[0]
    assert str(tmp_path / "step-000002") in caplog.text
    assert file in caplog.text


def test_extra_shard_and_all_bad(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
    shutil.copy(tmp_path / "step-000001" / "state.json", tmp_path / "step-000001" / "more")
    (tmp_path / "step-000002" / "model.safetensors").unlink()
    with pytest.raises(CorruptError) as info:
        checkpoints.newest(tmp_path)
    assert info.value.exit_code == EXIT_INPUT
    assert info.value.reasons == (
        "no checkpoint here is whole",
        "step-000002: model.safetensors is missing",
        "step-000001: more is not in the manifest",
    )


def test_renamed_checkpoint_is_not_believed(tmp_path: Path) -> None:
    save(tmp_path, 1).rename(tmp_path / "step-000009")
    with pytest.raises(CorruptError, match=r"step-000009: state\.json is damaged"):
        checkpoints.newest(tmp_path)


def test_pruning_never_removes_the_last_good_one(tmp_path: Path) -> None:
    save(tmp_path, 1, keep=1)
    later = save(tmp_path, 9, keep=2)
    data = bytearray((later / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (later / "model.safetensors").write_bytes(data)
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 1
    # The run goes on from step 1; the damaged later one must not count as the one to keep.
    save(tmp_path, 2, keep=1)
    assert steps(tmp_path) == ["step-000002"]


def test_later_whole_checkpoint_stays(tmp_path: Path) -> None:
    save(tmp_path, 9)
    save(tmp_path, 1, keep=1)
    assert steps(tmp_path) == ["step-000001", "step-000009"]


def test_failed_delete_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)

    def refuse(name: str) -> None:
        if name == "move doomed":
            raise OSError(16, "device or resource busy")

    monkeypatch.setattr(atomic, "fault_point", refuse)
    save(tmp_path, 2, keep=1)
    assert "could not be removed" in caplog.text
    monkeypatch.undo()
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 2
    save(tmp_path, 3, keep=1)
    assert steps(tmp_path) == ["step-000003"]


def test_full_disk_keeps_the_older_one(small_disk: Path) -> None:
    save(small_disk, 1)
    with pytest.raises(StorageError, match=r"/step-000002/model.safetensors: the disk is full"):
        checkpoints.save(small_disk, 2, {"model": {"w": torch.zeros(2**20)}}, {})
    assert steps(small_disk) == ["step-000001"]
    found = checkpoints.newest(small_disk)
    assert found is not None
    assert found.step == 1


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


def load_all(folder: Path) -> None:
    found = checkpoints.newest(folder)
    assert found is not None
    found.tensors("model")
    found.tensors("optimizer")


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_pickle_in_every_slot_is_refused(tmp_path: Path, file: str) -> None:  # S-01
    """Also when the attacker seals the folder again."""
    canary = tmp_path / "canary"
    path = save(tmp_path / "scratch", 1)
    (path / file).write_bytes(pickle.dumps(Touch(canary)))
    manifest.seal(path)
    with pytest.raises(CorruptError):
        load_all(tmp_path / "scratch")
    assert not canary.exists()


@pytest.mark.parametrize("text", ["[]", "null", '{"step": 1}', '{"step": 1, "state": []}', "1e"])
def test_foreign_state(tmp_path: Path, text: str) -> None:
    path = save(tmp_path, 1)
    (path / "state.json").write_text(text)
    manifest.seal(path)
    with pytest.raises(CorruptError, match=r"state\.json is damaged"):
        checkpoints.newest(tmp_path)


def test_state_that_is_not_json_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        checkpoints.save(tmp_path, 1, {}, {"x": {1, 2}})
    assert steps(tmp_path) == []


def test_state_is_json_text(tmp_path: Path) -> None:
    path = save(tmp_path, 3)
    assert json.loads((path / "state.json").read_text()) == {"step": 3, "state": {"lr": 0.1}}


def test_what_is_saved_is_what_was_there_at_the_call(tmp_path: Path) -> None:
    weights, state = torch.ones(64), {"order": [1, 2]}
    checkpoints.save(tmp_path, 1, {"model": {"w": weights}}, state)
    weights.fill_(7.0)  # as the next optimiser step does, in place
    state["order"].append(3)
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert torch.equal(found.tensors("model")["w"], torch.ones(64))
    assert found.state == {"order": [1, 2]}


def slow(folder: Path, step: int, begun: threading.Event, go: threading.Event) -> None:
    """A save that waits in the middle, its tensors written and not yet sealed."""

    def wait(temp: Path) -> None:
        begun.set()
        assert go.wait(60)

    tensors = {"model": {"w": torch.full((8, 8), float(step))}}
    checkpoints.save(folder, step, tensors, {}, keep=3, add=wait)


def test_saves_that_overlap_are_both_whole(tmp_path: Path) -> None:
    save(tmp_path, 1)
    begun, go = threading.Event(), threading.Event()
    first = threading.Thread(target=slow, args=(tmp_path, 2, begun, go))
    first.start()
    assert begun.wait(60)
    save(tmp_path, 3, keep=3)
    found = checkpoints.newest(tmp_path)  # sweeps, but nothing that is still being written
    assert found is not None
    assert found.step == 3
    go.set()
    first.join(60)
    assert steps(tmp_path) == ["step-000001", "step-000002", "step-000003"]
    for step in (1, 2, 3):
        manifest.verify(tmp_path / f"step-{step:06d}")


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_process_that_ends_while_saving_leaves_the_last_one(
    ending: signal.Signals, tmp_path: Path
) -> None:
    save(tmp_path, 1)
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(ending, signal.SIG_DFL)

        def wait(temp: Path) -> None:
            os.write(tell, b"x")
            signal.pause()

        checkpoints.save(tmp_path, 2, {"model": {"w": torch.zeros(8, 8)}}, {}, add=wait)
        os._exit(0)
    assert os.read(told, 1) == b"x"
    os.kill(child, ending)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == ending
    assert len(steps(tmp_path)) == 2  # the unfinished one lies there under another name
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert (found.step, found.skipped) == (1, ())
    assert steps(tmp_path) == ["step-000001"]


def test_the_newest_is_the_last_step_whatever_the_clock_said(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step, keep=3)
    for step, day in ((1, 400), (2, 300), (3, 300)):  # the clock went back, then stood still
        os.utime(tmp_path / f"step-{step:06d}", (day * 86400, day * 86400))
    found = checkpoints.newest(tmp_path)
    assert found is not None
    assert found.step == 3
    save(tmp_path, 4, keep=2)
    assert steps(tmp_path) == ["step-000003", "step-000004"]
