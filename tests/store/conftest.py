"""Real faults: a process killed at every fault point, a disk that is full or read-only."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from burnish.store import atomic

KillEverywhere = Callable[
    [Callable[[Path], None], Callable[[Path], None], Callable[[Path], None]], int
]


@pytest.fixture
def kill_everywhere(tmp_path: Path) -> KillEverywhere:
    """``kill_everywhere(prepare, operation, check) -> number of kills``.

    For n = 1, 2, ...: ``prepare(root)`` a fresh root, run ``operation(root)`` in a forked process
    that is SIGKILLed at its n-th fault point, then ``check(root)``; ends when a run survives.
    """

    def run(
        prepare: Callable[[Path], None],
        operation: Callable[[Path], None],
        check: Callable[[Path], None],
    ) -> int:
        for n in itertools.count(1):
            root = tmp_path / f"kill-{n}"
            root.mkdir()
            prepare(root)
            child = os.fork()
            if child == 0:
                _run_and_die(operation, root, n)
            _, status = os.waitpid(child, 0)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0, "the operation itself failed"
            check(root)
            if os.WIFEXITED(status):
                return n - 1
        raise AssertionError

    return run


def _run_and_die(operation: Callable[[Path], None], root: Path, n: int) -> None:
    calls = itertools.count(1)

    def kill(_name: str) -> None:
        if next(calls) == n:
            os.kill(os.getpid(), signal.SIGKILL)

    atomic.fault_point = kill
    try:
        operation(root)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB that can really be full; skips where mounting is not allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk can only be mounted by root; run as root in a container")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
