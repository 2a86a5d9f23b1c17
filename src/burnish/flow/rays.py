"""Parts over a Ray cluster, which restarts what dies. All nodes must see the same file system.

A process that hangs is not dead to Ray. So each says every second that it lives, to an actor; one
that has said nothing for ``timeout_s`` is killed on its node, whereupon Ray tries its part again.
"""

from __future__ import annotations

import importlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from burnish.config import InputError, Problem
from burnish.config.optional import needed
from burnish.flow.work import Answer, Executor, Numbers, Task, WorkFailed, attempt

log = logging.getLogger(__name__)

BEAT_S = 1.0

AHEAD = 2
"""Parts handed out for each worker: a second one waits, so that no worker does."""


def run(task: Task, todo: Sequence[int], executor: Executor) -> Iterator[Numbers]:
    """What the task says of each part in ``todo``, in the order in which they are finished.

    Raises:
        InputError: Ray is not installed, or the task found bad input.
        WorkFailed: the task failed, or its processes died too often on one part.
    """
    ray = connect(executor)
    work = ray.remote(num_cpus=1, max_retries=executor.attempts - 1)(_attempt)
    beats = ray.remote(num_cpus=0)(Beats).remote()
    shared = ray.put(task)
    waiting = iter(todo)
    pending: dict[Any, int] = {}
    try:
        while True:
            for index in waiting:
                pending[work.remote(shared, index, beats)] = index
                if len(pending) >= AHEAD * executor.workers:
                    break
            if not pending:
                return
            finished, _ = ray.wait(list(pending), num_returns=1, timeout=BEAT_S)
            for reference in finished:
                yield _answer(ray, reference, pending.pop(reference), executor.attempts)
            if not finished:
                _end_silent(ray, beats, executor.timeout_s)
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)
        ray.kill(beats)


class Beats:
    """An actor that hears of every process at work, and says which have fallen silent."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, int], float] = {}

    def beat(self, node: str, pid: int) -> None:
        """A process lives."""
        self._heard[node, pid] = time.monotonic()

    def rest(self, node: str, pid: int) -> None:
        """A process has done its part: silence is right from now on."""
        self._heard.pop((node, pid), None)

    def silent(self, longest_s: float) -> list[tuple[str, int]]:
        """Processes not heard of for so long; each is said once."""
        now = time.monotonic()
        found = [who for who, heard in self._heard.items() if now - heard > longest_s]
        for who in found:
            del self._heard[who]
        return found


def _attempt(task: Task, index: int, beats: Any) -> Answer:
    """``attempt``, with signs of life from a thread beside it."""
    ray: Any = importlib.import_module("ray")
    who = (ray.get_runtime_context().get_node_id(), os.getpid())
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            beats.beat.remote(*who)

    # Waited for: a sign that is still on its way when the process stops would never arrive.
    ray.get(beats.beat.remote(*who))
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        return attempt(task, index)
    finally:
        ended.set()
        thread.join()
        beats.rest.remote(*who)


def _end_silent(ray: Any, beats: Any, longest_s: float) -> None:
    """Kill what hangs, on its own node; a dead process is what Ray knows how to replace."""
    strategies: Any = importlib.import_module("ray.util.scheduling_strategies")
    for node, pid in ray.get(beats.silent.remote(longest_s)):
        log.warning("process %d gave no sign of life for %g s and is ended", pid, longest_s)
        there = strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        ray.get(ray.remote(num_cpus=0, scheduling_strategy=there)(_kill).remote(pid))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def connect(executor: Executor) -> Any:
    """Ray, connected: to ``address``, or to a cluster of this machine that is started here.

    A connection that this process has already is used as it is.

    Raises:
        InputError: Ray is not installed, or there is no cluster at the address.
    """
    needed("ray", "ray", at="workers")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray: Any = importlib.import_module("ray")
    if ray.is_initialized():
        return ray
    where = (
        {"address": executor.address}
        if executor.address
        else {"address": "local", "num_cpus": executor.workers, "include_dashboard": False}
    )
    try:
        ray.init(**where, log_to_driver=False, logging_level="error")
    except (ConnectionError, ValueError) as error:
        found = f"no Ray cluster at {executor.address!r}: {error}".splitlines()[0]
        raise InputError(Problem("", None, "address", found)) from None
    return ray


def _answer(ray: Any, reference: Any, index: int, attempts: int) -> Numbers:
    try:
        answer = ray.get(reference)
    except ray.exceptions.RayError as error:
        cause = str(error).splitlines()[0]
        raise WorkFailed(f"part {index}: failed on Ray, {attempts} attempts: {cause}") from error
    numbers: Numbers = answer.unwrap()
    return numbers
