"""Run a task over the parts that are missing: here, in processes, or over Ray."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence

from burnish.config.progress import Progress, SilentProgress
from burnish.flow import processes, rays
from burnish.flow.work import Executor, Numbers, Task


def execute(
    task: Task,
    parts: int,
    executor: Executor | None = None,
    progress: Progress | None = None,
    label: str = "parts",
) -> dict[str, float]:
    """Make the missing ones of ``parts`` parts.

    Returns:
        The sums of what the task said of the parts made now: not of those that were there.

    Raises:
        InputError: the task found bad input.
        WorkFailed: the task failed, or its processes died ``attempts`` times on one part.
    """
    executor = executor or Executor()
    todo = [index for index in range(parts) if not task.done(index)]
    sums: Counter[str] = Counter()
    with (progress or SilentProgress()).task(label, parts) as bar:
        bar.advance(parts - len(todo))
        began = time.monotonic()
        for numbers in _results(task, todo, executor) if todo else ():
            sums.update(numbers)
            rate = sums["records"] / max(time.monotonic() - began, 1e-9)
            bar.advance(1, **{"records/s": rate})
    return dict(sums)


def _results(task: Task, todo: Sequence[int], executor: Executor) -> Iterator[Numbers]:
    if executor.kind == "ray":
        return rays.run(task, todo, executor)
    if executor.workers == 1:
        return map(task, todo)
    return processes.run(task, todo, executor)
