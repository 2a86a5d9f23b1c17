"""Steps over a source, part by part; whatever was finished before is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config.progress import Progress
from burnish.flow.execute import execute
from burnish.flow.parts import PartsFolder, Source
from burnish.flow.plan import begin, is_finished
from burnish.flow.steps import Step, StepsTask, counts
from burnish.flow.work import Executor
from burnish.records import Record
from burnish.store import atomic, manifest
from burnish.store.lock import held


@dataclass(frozen=True)
class Report:
    """``kept`` records lie in the folder, ``removed`` says how many each step took out.

    ``measured``: sums over the parts made by this call alone, as ``StepsTask`` gives them.
    """

    kept: int
    removed: Mapping[str, int]
    measured: Mapping[str, float] = field(default_factory=dict)


def run(
    source: Source,
    output: Path,
    steps: Sequence[Step],
    kind: type[Record],
    executor: Executor | None = None,
    progress: Progress | None = None,
    rerun: bool = False,
) -> Report:
    """Put every part of ``source`` through ``steps`` into the parts folder ``output``.

    Its bytes depend on the source and the steps, not on the executor, and not on how often the
    work was interrupted: parts that are there are not made again, and no record is in two of them.

    Args:
        kind: the class of the records that come out.
        rerun: remove what other steps or another source left in ``output``.

    Raises:
        InputError: the input is bad, or ``output`` holds other work.
        StorageError: another process works on ``output``, or the disk is full.
        WorkFailed: a step failed.
    """
    lock = output.with_name(f".{output.name}.lock")
    with held(lock):
        begin(output, plan(source, steps), rerun)
        made = PartsFolder(output, kind)
        measured: Mapping[str, float] = {}
        if not is_finished(output):
            atomic.sweep(output)
            task = StepsTask(source, tuple(steps), output)
            label = ", ".join(step.name for step in steps) or output.name
            measured = execute(task, len(source), executor, progress, label)
            atomic.sweep(output)
            manifest.seal(output)
        lock.unlink(missing_ok=True)
        return Report(*counts(made), measured)


def plan(source: Source, steps: Sequence[Step]) -> dict[str, Any]:
    """What the result depends on, as ``plan.begin`` compares it."""
    described = [{"name": step.name, "settings": dict(step.settings)} for step in steps]
    return {"source": source.fingerprint, "parts": len(source), "steps": described}
