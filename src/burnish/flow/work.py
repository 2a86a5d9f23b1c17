"""What executors have in common: the task, how failures come back from another process."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import Field

from burnish.config import BurnishError, InputError, Problem, Settings
from burnish.config.progress import Progress, SilentProgress

Numbers = Mapping[str, float]


class Executor(Settings):
    """Where parts are worked on. The result is the same whatever stands here.

    ``workers``: processes at once; 1 of kind ``process`` is this one. ``timeout_s``: a process
    that gives no sign of life for so long is killed. A part is tried ``attempts`` times when its
    process dies. ``address`` is a Ray cluster's, empty for one on this machine.
    """

    kind: Literal["process", "ray"] = "process"
    workers: int = Field(1, ge=1)
    timeout_s: float = Field(60.0, gt=0)
    attempts: int = Field(3, ge=1)
    address: str = ""

    @classmethod
    def parse(cls, text: str) -> Executor:
        """``"2"`` for two processes, ``"ray"``, or ``"ray:ADDRESS"`` for a running cluster.

        Raises:
            InputError: it is none of these.
        """
        name, _, address = text.partition(":")
        if name == "ray":
            return cls(kind="ray", workers=2, address=address)
        if text.isdecimal() and int(text) >= 1:
            return cls(workers=int(text))
        expected = "a number of processes, ray, or ray:ADDRESS"
        raise InputError(Problem("", None, "workers", f"found {text!r}", expected))


@dataclass(frozen=True)
class Means:
    """Who works on the parts, how many records one has where data are cut into parts, and who is
    told how far it is."""

    executor: Executor = field(default_factory=Executor)
    part: int = 10_000
    progress: Progress = field(default_factory=SilentProgress)


class Task(Protocol):
    """Work on one part that leaves its result on disk: whole, or not at all. Picklable."""

    def done(self, index: int) -> bool:
        """Whether the result is there."""
        ...

    def __call__(self, index: int) -> Numbers:
        """Make it; gives numbers to be added up, ``records`` among them."""
        ...


class WorkFailed(BurnishError):
    """A part cannot be made; says which and why."""

    def __init__(self, message: str, exit_code: int = BurnishError.exit_code) -> None:
        self.exit_code = exit_code
        super().__init__(message)


@dataclass(frozen=True)
class Answer:
    """What came of a part in another process: numbers, or problems of the input, or a failure.

    Errors are taken apart, because not every exception survives being sent.
    """

    index: int
    numbers: Numbers | None = None
    problems: tuple[Problem, ...] = ()
    failure: str = ""
    exit_code: int = BurnishError.exit_code

    def unwrap(self) -> Numbers:
        """The numbers; raises InputError or WorkFailed as the task did."""
        if self.numbers is not None:
            return self.numbers
        if self.problems:
            raise InputError(self.problems)
        raise WorkFailed(f"part {self.index}: {self.failure}", self.exit_code)


def attempt(task: Task, index: int) -> Answer:
    """Work on a part and say what came of it; for the other side of a process boundary."""
    try:
        # Done: a process before this one was killed between finishing the part and saying so.
        return Answer(index, {} if task.done(index) else task(index))
    except InputError as error:
        return Answer(index, problems=error.problems)
    except BurnishError as error:
        return Answer(index, failure=str(error), exit_code=error.exit_code)
    except Exception as error:  # noqa: BLE001
        return Answer(index, failure="".join(traceback.format_exception(error)).rstrip())
