"""Errors a person can act on, each with the exit code the command line gives for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_INPUT = 2
EXIT_INTERRUPTED = 3
EXIT_GATE = 4


@dataclass(frozen=True)
class Problem:
    """One thing wrong with the input: where it is, what was found, what was expected.

    Example: ``Problem("recipe.yaml", 7, "train.epochs", "found 'two'", "expected a number")``.
    """

    file: str
    line: int | None
    field: str
    found: str
    expected: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.field) if part)
        detail = f"{self.found}; {self.expected}" if self.expected else self.found
        return f"{place}: {detail}" if place else detail


class BurnishError(Exception):
    """Base of every error burnish raises on purpose."""

    exit_code = EXIT_INTERNAL


class InputError(BurnishError):
    """The user's input is wrong; ``problems`` lists everything found, not just the first."""

    exit_code = EXIT_INPUT

    def __init__(self, problems: Sequence[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = [Problem("", None, "", problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class Interrupted(BurnishError):
    """A signal asked to stop; state was saved and the same command continues."""

    exit_code = EXIT_INTERRUPTED


class GateRefused(BurnishError):
    """The gate kept the champion and the caller asked for that to be an error."""

    exit_code = EXIT_GATE
