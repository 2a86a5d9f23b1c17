from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from burnish.config import EXIT_INPUT
from burnish.store import atomic, manifest
from burnish.store.errors import StorageError

OLD = {"a.txt": "old a", "b.txt": "old b"}
NEW = {"a.txt": "new a", "c.txt": "new c"}


def fill(target: Path, files: dict[str, str], replace: bool = False) -> None:
    with atomic.new_folder(target, replace) as temp:
        for name, text in files.items():
            (temp / name).write_text(text)
            if name == "fail":
                raise KeyError(text)
        manifest.seal(temp)


def texts(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir() if p.name != manifest.MANIFEST}


def test_write_replaces_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x.json"
    atomic.write_json(path, {"a": "中"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "中"\n}\n'
    os.link(path, tmp_path / "old")
    atomic.write_bytes(path, b"")
    assert path.read_bytes() == b""
    assert os.listdir(path.parent) == ["x.json"]
    # Never in place: whoever holds the old file still reads it whole.
    assert (tmp_path / "old").read_text(encoding="utf-8") == '{\n "a": "中"\n}\n'


def test_killed_write_leaves_old_or_new(kill_everywhere, tmp_path: Path) -> None:
    seen = set()

    def check(root: Path) -> None:
        seen.add((root / "x").read_bytes())
        atomic.sweep(root)
        assert os.listdir(root) == ["x"]

    kills = kill_everywhere(
        lambda root: atomic.write_bytes(root / "x", b"old"),
        lambda root: atomic.write_bytes(root / "x", b"brand new"),
        check,
    )
    assert kills == 5
    assert seen == {b"old", b"brand new"}


def test_killed_swap_leaves_old_or_new(kill_everywhere) -> None:
    seen = []

    def check(root: Path) -> None:
        atomic.sweep(root)
        assert os.listdir(root) == ["model"]
        manifest.verify(root / "model")
        found = texts(root / "model")
        assert found in (OLD, NEW)
        seen.append(found == NEW)

    kills = kill_everywhere(
        lambda root: fill(root / "model", OLD),
        lambda root: fill(root / "model", NEW, replace=True),
        check,
    )
    assert kills >= 10
    assert seen == sorted(seen)
    assert not seen[0]
    assert seen[-1]


def test_killed_swap_is_put_back_by_next_writer(kill_everywhere) -> None:
    def check(root: Path) -> None:
        fill(root / "model", {"z": "next"}, replace=True)
        assert texts(root / "model") == {"z": "next"}
        atomic.sweep(root)
        assert os.listdir(root) == ["model"]

    kill_everywhere(
        lambda root: fill(root / "model", OLD),
        lambda root: fill(root / "model", NEW, replace=True),
        check,
    )


def test_existing_target_is_refused_without_replace(tmp_path: Path) -> None:
    fill(tmp_path / "model", OLD)
    with pytest.raises(StorageError, match="already exists"):
        fill(tmp_path / "model", NEW)
    assert texts(tmp_path / "model") == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    fill(tmp_path / "model", OLD)
    with pytest.raises(KeyError, match="on purpose"):
        fill(tmp_path / "model", {"half.txt": "x", "fail": "on purpose"}, replace=True)
    assert texts(tmp_path / "model") == OLD
    assert os.listdir(tmp_path) == ["model"]


def test_caller_errors_pass_through(tmp_path: Path) -> None:
    """A stage that misses its own input is not reported as a fault of its output."""
    with pytest.raises(FileNotFoundError), atomic.new_folder(tmp_path / "out"):
        (tmp_path / "missing.jsonl").read_text()
    with pytest.raises(ConnectionError), atomic.new_folder(tmp_path / "out"):
        raise ConnectionError("no answer")
    with (
        pytest.raises(StorageError, match="out: cannot be"),
        atomic.new_folder(tmp_path / "out") as temp,
    ):
        (temp / "not made" / "x").write_text("x")
    assert os.listdir(tmp_path) == []


def test_sweep_spares_the_living(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    try:
        names = {
            f".x.tmp-{other.pid}-0": True,
            f".y.old-{other.pid}-0": True,
            f".x.tmp-{dead.pid}-0": False,
            f".x.tmp-{os.getpid()}-999999": False,
            ".x.tmp-99999999999999999999-1": False,
            ".x.tmp-a-1": True,
            "x.tmp-1-1": True,
        }
        for name in names:
            (tmp_path / name).mkdir()
        with atomic.new_folder(tmp_path / "mine") as temp:
            swept = atomic.sweep(tmp_path)
            assert temp.exists()
        assert {p.name for p in swept} == {name for name, stays in names.items() if not stays}
        for name, stays in names.items():
            assert (tmp_path / name).exists() == stays
    finally:
        other.kill()
        other.wait()


def test_full_disk_is_named_and_harmless(small_disk: Path) -> None:
    path = small_disk / "data.bin"
    atomic.write_bytes(path, b"old")
    with pytest.raises(StorageError, match=r"data\.bin: the disk is full: \d\.\d MiB free") as info:
        atomic.write_bytes(path, bytes(2 * 2**20))
    assert info.value.exit_code == EXIT_INPUT
    fill(small_disk / "model", OLD)
    with pytest.raises(StorageError, match="model: the disk is full"):
        fill(small_disk / "model", {"big": "x" * 2 * 2**20}, replace=True)
    assert path.read_bytes() == b"old"
    assert texts(small_disk / "model") == OLD
    assert sorted(os.listdir(small_disk)) == ["data.bin", "model"]


def test_read_only_disk_is_named(small_disk: Path) -> None:
    fill(small_disk / "model", OLD)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StorageError, match="x: no permission to write"):
        atomic.write_bytes(small_disk / "x", b"")
    with pytest.raises(StorageError, match="model: no permission to write"):
        fill(small_disk / "model", NEW, replace=True)
    assert texts(small_disk / "model") == OLD


PROGRAM = """
import sys
from pathlib import Path
from burnish.store import atomic
target = Path(sys.argv[1])
with atomic.new_folder(target, replace=True) as temp:
    atomic.write_text(temp / "a.txt", "new a")
    atomic.write_text(temp / "c.txt", "new c")
"""


def strace(inject: str, target: Path) -> subprocess.CompletedProcess[str]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls = inject.split(":")[0]
    command = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", f"inject={inject}"]
    source = Path(atomic.__file__).parents[2]
    done = subprocess.run(
        [*command, sys.executable, "-c", PROGRAM, str(target)],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr and "Operation not permitted" in done.stderr:
        pytest.skip("ptrace is not permitted here")
    return done


def test_killed_at_each_system_call(tmp_path: Path) -> None:
    states = []
    for n in range(1, 60):
        root = tmp_path / str(n)
        fill(root / "model", OLD)
        done = strace(f"rename,renameat,renameat2,fsync:signal=SIGKILL:when={n}", root / "model")
        atomic.sweep(root)
        assert os.listdir(root) == ["model"]
        assert texts(root / "model") in (OLD, NEW)
        states.append(texts(root / "model") == NEW)
        if done.returncode == 0:
            break
        assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    assert states == sorted(states)
    assert len(states) > 8
    assert not states[0]
    assert states[-1]


def test_full_disk_at_a_system_call(tmp_path: Path) -> None:
    fill(tmp_path / "model", OLD)
    for call in ("fsync", "rename,renameat,renameat2"):
        done = strace(f"{call}:error=ENOSPC:when=2", tmp_path / "model")
        assert "StorageError" in done.stderr
        assert "the disk is full" in done.stderr
        assert texts(tmp_path / "model") == OLD
        assert os.listdir(tmp_path) == ["model"]


def test_a_live_writer_is_not_disturbed(tmp_path: Path) -> None:
    """A second process that sweeps while the first is between its two renames changes nothing."""
    fill(tmp_path / "model", OLD)
    ready, go = tmp_path / "ready", tmp_path / "go"
    child = os.fork()
    if child == 0:

        def pause(name: str) -> None:
            if name == "rename folder":
                ready.touch()
                while not go.exists():
                    time.sleep(0.01)

        atomic.fault_point = pause
        fill(tmp_path / "model", NEW, replace=True)
        os._exit(0)
    while not ready.exists():
        time.sleep(0.01)
    assert atomic.sweep(tmp_path) == []
    go.touch()
    assert os.waitpid(child, 0)[1] == 0
    assert texts(tmp_path / "model") == NEW
