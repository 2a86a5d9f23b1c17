"""The forgetting guard: measures what a model is to keep while it learns something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from burnish.config import InputError, Problem, Settings
from burnish.engine import Action, Change, StepInfo
from burnish.evals import choices, tasks
from burnish.evals.perplexity import document_losses, perplexity
from burnish.evals.tasks import Task, TaskSettings
from burnish.models.load import Loaded
from burnish.records import Document, Figure
from burnish.sampling import LocalSampler
from burnish.stages.base import Inputs

PERPLEXITY = "general_ppl"
TASK = "guard_"
EARLY = 2.0
"""How far past its bound a measure may be in the first steps, in bounds: 2 is a ratio of its
square, or a fall of twice the margin."""

Measure = Callable[[], dict[str, Figure]]


class GuardTask(TaskSettings):
    """A task that the guard asks too; its share may get worse by ``margin`` at most.

    A margin is worth what the items can decide: 100 of them scatter by some five points. Items of
    kind ``choice`` need no reply, and cost a forward pass each.
    """

    margin: float = Field(0.05, gt=0, lt=1, description="0.05: five points")


class Guard(Settings):
    """The forgetting guard: general perplexity, as a ratio to its start, and ``tasks``, at
    ``checks`` points of the fit.

    Past a bound it acts. ``stop`` ends the fit there, ``rollback`` goes back to the last point
    within all bounds and ends, ``watch`` only records. ``raise_replay`` multiplies the general
    tokens for each domain token, in what is still to come, by ``replay_factor``, up to
    ``replay_max``: general text takes the place of domain text, and the fit is no longer for it.
    ``lower_rate`` multiplies the rest of the learning rates by ``rate_factor``, down to
    ``rate_min`` of what they were. Both go on from where they are, and wait while a reading is
    better than the one before; with ``go_back`` they go on from the last good point. Where nothing
    is left to raise or lower, and at the last step, they roll back and end. So but for ``stop``
    and ``watch`` a fit never ends past its bounds.

    A warm-up from an annealed model raises perplexity for a while as it is (Ibrahim et al. 2024,
    arXiv 2403.08763), so in the first ``grace`` share of the steps only a ratio past the bound's
    square counts, or a fall of more than twice a task's margin.
    """

    bound: float = Field(1.3, gt=1)
    tasks: list[GuardTask] = []
    checks: PositiveInt = 6
    grace: float = Field(0.5, ge=0, lt=1)
    action: Literal["stop", "rollback", "watch", "raise_replay", "lower_rate"] = "rollback"
    go_back: bool = Field(False, description="before more replay or a lower rate")
    replay_factor: float = Field(4.0, gt=1)
    replay_max: PositiveFloat = Field(20.0, description="general tokens for each domain token")
    rate_factor: float = Field(0.5, gt=0, lt=1)
    rate_min: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _possible(self) -> Guard:
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise ValueError(f"tasks: each needs a name of its own, found {', '.join(names)}")
        if self.go_back and self.action not in ("raise_replay", "lower_rate"):
            raise ValueError(f"go_back: goes with raise_replay and lower_rate, not {self.action}")
        return self


class Watch:
    """Tells the engine what to do from what it measures as it goes.

    It keeps no state: every reading so far follows from the fit's history, so that a resumed fit
    acts as an unbroken one.

    Args:
        settings: bounds and what to do.
        start: each measure before the fit: ``general_ppl``, and ``guard_NAME`` of each task.
        ratio: general tokens for each domain token at the start.
    """

    def __init__(self, settings: Guard, start: Mapping[str, float], ratio: float = 0.0) -> None:
        self.settings, self.start, self.ratio = settings, start, ratio

    def __call__(self, info: StepInfo) -> Action | None:
        """Called after each step; only those with a measurement have an action."""
        if not self.start.keys() & info.metrics.keys():
            return None
        last = self.readings([*info.history, info.metrics], info.steps)[-1]
        settings = self.settings
        if last["action"] == "raise_replay":
            return Change(settings.go_back, share=last["replay"] / (1 + last["replay"]))
        if last["action"] == "lower_rate":
            return Change(settings.go_back, rate=settings.rate_factor)
        action: Action | None = last["action"]
        return action

    def limits(self) -> dict[str, dict[str, float]]:
        """Of each task its share at the ``start``, and the ``bound`` it may not pass."""
        return {
            task.name: {
                "start": (start := self.start[TASK + task.name]),
                "bound": start - task.margin if task.upward else start + task.margin,
            }
            for task in self.settings.tasks
        }

    def readings(self, history: Sequence[Mapping[str, Any]], steps: int) -> list[dict[str, Any]]:
        """Every measurement of a fit of ``steps``: step, ratio of perplexity to the start, the
        tasks' shares, what was done (None: nothing), and the replay and rate that held after it."""
        found: list[dict[str, Any]] = []
        replay, rate, before = self.ratio, 1.0, 0.0
        for row in history:
            if not self.start.keys() & row.keys():
                continue
            excess = max(self._excess(name, row[name]) for name in self.start)
            action = self._action(excess, before, row["step"] / steps, replay, rate)
            before = excess
            if action == "raise_replay":
                replay = min(self.settings.replay_max, replay * self.settings.replay_factor)
            if action == "lower_rate":
                rate *= self.settings.rate_factor
            found.append({**self._shown(row), "action": action, "replay": replay, "rate": rate})
        return found

    def _action(
        self, excess: float, before: float, gone: float, replay: float, rate: float
    ) -> str | None:
        settings = self.settings
        if excess <= 1 or settings.action == "watch":
            return "mark"
        if gone <= settings.grace and excess <= EARLY:
            return None
        if settings.action not in ("raise_replay", "lower_rate"):
            return settings.action
        if gone >= 1:
            return "rollback"
        if not settings.go_back and excess < before:
            return None
        if settings.action == "raise_replay":
            return "raise_replay" if replay < settings.replay_max else "rollback"
        lower = rate * settings.rate_factor
        return "lower_rate" if lower >= settings.rate_min else "rollback"

    def _excess(self, name: str, value: float | None) -> float:
        """How far a measure is from its start: 1 at the bound, 0 where nothing changed."""
        if value is None:  # as a log keeps what is not finite
            return math.inf
        if name == PERPLEXITY:
            excess = math.log(value / self.start[name]) / math.log(self.settings.bound)
        else:
            task = next(task for task in self.settings.tasks if TASK + task.name == name)
            worse = self.start[name] - value if task.upward else value - self.start[name]
            excess = worse / task.margin
        # A fall from 0.6 to 0.55 is one of 0.05, and at the bound.
        return round(excess, 9)

    def _shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {"step": int(row["step"])}
        if "general_share" in row:
            shown["general_share"] = row["general_share"]
        if PERPLEXITY in self.start:
            value = row[PERPLEXITY]
            shown["ratio"] = None if value is None else value / self.start[PERPLEXITY]
        names = [task.name for task in self.settings.tasks]
        return shown | ({"tasks": {name: row[TASK + name] for name in names}} if names else {})


def load_tasks(guard: Guard, inputs: Inputs) -> list[Task]:
    """The guard's task sets.

    Raises:
        InputError: as ``tasks.load_task``, or a file without items.
    """
    return [
        tasks.load_task(settings, *inputs.paths(f"guard.tasks.{index}.data"))
        for index, settings in enumerate(guard.tasks)
    ]


def perplexity_of(loaded: Loaded, documents: Sequence[Document], tokens_per_batch: int) -> Figure:
    """Perplexity of the model as it is now."""
    return perplexity(document_losses(loaded.model, loaded.tokenizer, documents, tokens_per_batch))


def measure_of(
    loaded: Loaded,
    heldout: Sequence[Document],
    sets: Sequence[Task],
    tokens_per_batch: int,
    seed: int,
) -> Measure | None:
    """A function that gives ``general_ppl`` and a ``guard_NAME`` for each task as the model is
    now; None where there is nothing to measure."""
    if not heldout and not sets:
        return None

    def measure() -> dict[str, Figure]:
        found = {}
        if heldout:
            found[PERPLEXITY] = perplexity_of(loaded, heldout, tokens_per_batch)
        if sets:
            sampler = LocalSampler(loaded.model, loaded.tokenizer)
            weigh = partial(choices.measure, loaded.model, loaded.tokenizer)
            responses = tasks.answer(sampler, sets, seed=seed, weigh=weigh)
            found |= {TASK + name: one for name, one in tasks.figures(responses).items()}
        return found

    return measure


def check(guard: Guard, start: Mapping[str, Figure], ratio: float, spare: int) -> None:
    """Refuse, before the first step, a guard that could never act as it says.

    Args:
        start: what was measured before the fit.
        ratio: general tokens for each domain token at the start.
        spare: tokens of general text beyond those of the mix.

    Raises:
        InputError: nothing is measured; a task's margin reaches past 0 or 1 already at its start;
            ``replay_max`` is not above the mix; there is no more general text, or none in the mix.
    """
    active = guard.action in ("raise_replay", "lower_rate")
    if active and not start:
        found, wanted = f"{guard.action} without anything to measure", "heldout, or guard.tasks"
        raise _bad("action", found, wanted)
    for index, task in enumerate(guard.tasks):
        value = start[TASK + task.name].value
        room = value if task.upward else 1 - value
        if guard.action != "watch" and room <= task.margin:
            found = f"{task.name} starts at {value:.3f}, from where it cannot get worse by more"
            raise _bad(f"tasks.{index}.margin", found, f"below {room:.3f}, or another task")
    if guard.action != "raise_replay":
        return
    if ratio == 0:
        raise _bad("action", "raise_replay, and no general text in the mix", "ratio above 0")
    if ratio >= guard.replay_max:
        found = f"{guard.replay_max:g}, and the mix begins with {ratio:.2f}"
        raise _bad("replay_max", found, "more general tokens for each domain token than that")
    if spare == 0:
        expected = "more general documents than the mix takes, or more repeats"
        raise _bad("action", "raise_replay, and all general text is in the mix", expected)


def _bad(field: str, found: str, expected: str) -> InputError:
    return InputError(Problem("", None, f"guard.{field}", found, expected))
