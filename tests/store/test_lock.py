from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from burnish.store import lock
from burnish.store.errors import StorageError


def test_second_holder_is_told_who_has_it_and_a_kill_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "run" / ".lock"
    child = os.fork()
    if child == 0:
        with lock.held(path):
            (tmp_path / "ready").touch()
            time.sleep(60)
        os._exit(0)
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    with (
        pytest.raises(StorageError, match=rf"in use by another process \({child}\)"),
        lock.held(path),
    ):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with lock.held(path):
        assert path.read_text() == str(os.getpid())
    with lock.held(path, wait=True):
        pass
