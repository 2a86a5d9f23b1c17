"""Parts over a Ray cluster, which restarts what dies. All nodes must see the same file system."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

from burnish.config import InputError, Problem
from burnish.config.optional import needed
from burnish.flow.work import Executor, Numbers, Task, WorkFailed, attempt

AHEAD = 2
"""Parts handed out for each worker: a second one waits, so that no worker does."""


def run(task: Task, todo: Sequence[int], executor: Executor) -> Iterator[Numbers]:
    """What the task says of each part in ``todo``, in the order in which they are finished.

    Raises:
        InputError: Ray is not installed, or the task found bad input.
        WorkFailed: the task failed, or its processes died too often on one part.
    """
    ray = connect(executor)
    work = ray.remote(num_cpus=1, max_retries=executor.attempts - 1)(attempt)
    shared = ray.put(task)
    waiting = iter(todo)
    pending: dict[Any, int] = {}
    try:
        while True:
            for index in waiting:
                pending[work.remote(shared, index)] = index
                if len(pending) >= AHEAD * executor.workers:
                    break
            if not pending:
                return
            finished, _ = ray.wait(list(pending), num_returns=1)
            for reference in finished:
                yield _answer(ray, reference, pending.pop(reference), executor.attempts)
    finally:
        for reference in pending:
            ray.cancel(reference, force=True)


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
