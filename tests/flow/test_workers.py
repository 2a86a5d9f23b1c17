"""R-19, R-26, R-30: processes that die, hang or fall over; the same bytes whoever works."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.flow.work import Fault, Made, contents, crash, refuse, steps

from burnish import flow
from burnish.config import InputError
from burnish.flow.rays import Beats
from burnish.records import Document

TWO = flow.Executor(workers=2, timeout_s=20)
COUNT = 22  # six parts


def run(root: Path, executor: flow.Executor | None = None, fault: Fault | None = None) -> None:
    made = Made(COUNT, root / "ledger")
    flow.run(made, root / "out", steps(fault), Document, executor)


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, bytes]:
    run(tmp_path / "plain")
    return contents(tmp_path / "plain/out")


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()


def test_a_worker_killed_at_its_work(tmp_path: Path, wanted: dict[str, bytes]) -> None:
    fault = Fault(3, signal.SIGKILL, tmp_path / "struck")
    run(tmp_path, TWO, fault)
    assert fault.count() == 1
    assert contents(tmp_path / "out") == wanted  # two processes, one of them replaced
    assert Made(COUNT, tmp_path / "ledger").paid() == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1, 5: 1}


def test_a_worker_that_hangs(tmp_path: Path, wanted: dict[str, bytes]) -> None:
    fault = Fault(1, signal.SIGSTOP, tmp_path / "struck")
    run(tmp_path, flow.Executor(workers=2, timeout_s=6), fault)
    assert fault.count() == 1
    assert contents(tmp_path / "out") == wanted
    assert not [one for one in psutil.Process().children() if one.status() == "stopped"]


def test_a_part_that_always_kills_ends_the_run(
    tmp_path: Path, wanted: dict[str, bytes]
) -> None:
    fault = Fault(5, signal.SIGKILL, tmp_path / "struck", times=2)
    with pytest.raises(flow.WorkFailed, match="part 5: its process ended with exit code -9, 2 tim"):
        run(tmp_path, flow.Executor(workers=2, attempts=2), fault)
    assert fault.count() == 2
    finished = {path.name for path in (tmp_path / "out").glob("part-*")}
    rest = {f"part-0000{n}.parquet" for n in range(5)} - finished
    assert len(rest) <= 1  # the other process may have been at work when the run ended
    run(tmp_path)  # the cause is gone: the same work goes on from there
    assert contents(tmp_path / "out") == wanted
    paid = Made(COUNT, tmp_path / "ledger").paid()
    assert paid.pop(5) == 3
    assert sum(paid.values()) <= 5 + len(rest)


def test_errors_of_a_worker_arrive_with_their_place(tmp_path: Path) -> None:
    made = Made(COUNT, tmp_path / "ledger")
    with pytest.raises(InputError, match=r"x\.jsonl:3:text: found 7; text"):
        flow.run(made, tmp_path / "a", [flow.Step("refuse", refuse)], Document, TWO)
    with pytest.raises(flow.WorkFailed, match=r"part [01]: (?s:.)*KeyError: 'no such thing'"):
        flow.run(made, tmp_path / "b", [flow.Step("crash", crash)], Document, TWO)


PROGRAM = """
import sys
from pathlib import Path
from burnish import flow
from burnish.records import Document
from tests.flow.work import Made, steps

if __name__ == "__main__":
    root = Path(sys.argv[1])
    flow.run(Made(400, root / "ledger"), root / "out", steps(), Document, flow.Executor(workers=2))
"""


def test_killed_with_its_workers_at_any_moment(tmp_path: Path) -> None:
    """The process that runs all is killed after some parts; its workers must not outlive it."""
    flow.run(Made(400, tmp_path / "all"), tmp_path / "wanted", steps(), Document)
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    folders = [str(Path(flow.__file__).parents[2]), str(Path(__file__).parents[2])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    for least in (1, 40):
        command = [sys.executable, str(program), str(tmp_path)]
        running = subprocess.Popen(command, env=environment)
        while running.poll() is None and parts(tmp_path / "out") < least:
            time.sleep(0.01)
        workers = psutil.Process(running.pid).children(recursive=True) if not running.poll() else []
        running.kill()
        running.wait()
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert not alive
    before = {n for n in range(100) if (tmp_path / f"out/part-{n:05d}.parquet").exists()}
    paid = Made(400, tmp_path / "ledger").paid()
    flow.run(Made(400, tmp_path / "ledger"), tmp_path / "out", steps(), Document)
    assert contents(tmp_path / "out") == contents(tmp_path / "wanted")
    after = Made(400, tmp_path / "ledger").paid()
    assert all(after[part] == paid[part] for part in before)
    # At most the two parts under way at each of the two kills were begun again.
    assert sum(after.values()) <= 100 + 2 * 2


def parts(folder: Path) -> int:
    return len(list(folder.glob("part-*.parquet")))


@pytest.mark.slow
def test_on_ray_with_workers_that_die_or_hang(tmp_path: Path, wanted: dict[str, bytes]) -> None:
    """R-19, R-30: two workers of a local Ray cluster, one of which is killed at its work, and once
    stopped."""
    ray = pytest.importorskip("ray")
    executor = flow.Executor(kind="ray", workers=2)
    fault = Fault(3, signal.SIGKILL, tmp_path / "struck")
    try:
        run(tmp_path, executor, fault)
        assert fault.count() == 1
        assert contents(tmp_path / "out") == wanted
        (tmp_path / "hung").mkdir()
        hang = Fault(1, signal.SIGSTOP, tmp_path / "hung/struck")
        run(tmp_path / "hung", flow.Executor(kind="ray", workers=2, timeout_s=10), hang)
        assert hang.count() == 1
        assert contents(tmp_path / "hung/out") == wanted
        (tmp_path / "always").mkdir()
        always = Fault(2, signal.SIGKILL, tmp_path / "always/struck", times=2)
        with pytest.raises(flow.WorkFailed, match="part 2: failed on Ray, 2 attempts"):
            run(tmp_path / "always", flow.Executor(kind="ray", workers=2, attempts=2), always)
        assert always.count() == 2
    finally:
        ray.shutdown()


def test_what_is_silent_is_said_once() -> None:
    beats = Beats()
    for pid in (1, 2, 3):
        beats.beat("node", pid)
    beats.rest("node", 2)
    assert beats.silent(60) == []
    time.sleep(0.02)
    beats.beat("node", 3)
    assert beats.silent(0.01) == [("node", 1)]
    assert beats.silent(0.01) == []
