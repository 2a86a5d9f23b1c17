"""Alarms of a fit that optimises a policy: what went wrong, by stated limits, from its own log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field

from burnish.config import Settings
from burnish.engine import Action, StepInfo
from burnish.reporting.alarms import sentence
from burnish.rollouts.constraint import ConstraintSettings

log = logging.getLogger(__name__)

Row = Mapping[str, float]
SETTLING = 3
"""Phases before a critic is expected to foretell anything."""
SLIGHT = 1.0
"""Nats a reply; below that a divergence may grow by any factor."""


class AlarmSettings(Settings):
    """Limits past which an alarm is recorded, shown on the terminal and in the report.

    ``entropy``: share of the first phase's that must be left. ``length``: factor by which replies
    may become longer or shorter. ``kl``: factor by which the divergence may grow from one phase to
    the next, once above 1 nat a reply. ``clip_fraction``: share of a step's tokens. The critic's
    ``explained_variance`` is looked at from the fourth phase on. ``flat``: share of prompts whose
    replies all have the same reward, of methods that compare them. Not set by a number: rewards
    that are all equal, and a budget that is exceeded with lambda at its maximum. ``stop`` ends the
    fit at the first alarm.
    """

    entropy: float = Field(0.3, ge=0, lt=1)
    length: float = Field(2.0, gt=1)
    kl: float = Field(4.0, gt=1)
    clip_fraction: float = Field(0.5, gt=0, le=1)
    explained_variance: float = Field(0.0, le=1)
    flat: float = Field(0.95, gt=0, le=1)
    stop: bool = False


@dataclass(frozen=True)
class Alarm:
    """The first time that a limit was passed: ``kind``, the phase (from 1), value and limit."""

    kind: str
    phase: int
    value: float
    limit: float


@dataclass(frozen=True)
class Alarms:
    """Tells of alarms as they come, and ends the fit where asked to. It keeps no state.

    ``compares``: whether the method compares replies to one prompt; ``bound``: of the cost.
    """

    settings: AlarmSettings
    compares: bool = False
    bound: ConstraintSettings | None = None

    def __call__(self, info: StepInfo) -> Action | None:
        """Looks at the step just taken."""
        known = {alarm.kind for alarm in self.found(info.history)}
        fresh = [one for one in self.found([*info.history, info.metrics]) if one.kind not in known]
        for alarm in fresh:
            log.warning("%s", sentence(asdict(alarm), "en"))
        return "stop" if fresh and self.settings.stop else None

    def found(self, rows: Sequence[Row]) -> list[Alarm]:
        """Every kind of alarm in the rows of a fit, once, in the order they came."""
        raised: dict[str, Alarm] = {}
        begins = [row for row in rows if row.get("phase_step") == 1]
        for place, row in enumerate(begins):
            before = begins[place - 1] if place else None
            for kind, value, limit in self._of_phase(row, begins[0], before, place):
                raised.setdefault(kind, Alarm(kind, place + 1, value, limit))
        limit = self.settings.clip_fraction
        for row in rows:
            if (value := row.get("clip_fraction", 0.0)) > limit:
                phase = int(row["phase"]) + 1
                raised.setdefault("clip_fraction", Alarm("clip_fraction", phase, value, limit))
        return sorted(raised.values(), key=lambda alarm: alarm.phase)

    def _of_phase(
        self, row: Row, first: Row, before: Row | None, place: int
    ) -> Iterator[tuple[str, float, float]]:
        """Kind, value and limit of what is wrong with a phase."""
        own = self.settings
        entropy, least = row["entropy"], own.entropy * first["entropy"]
        if entropy < least:
            yield "entropy", entropy, least
        if row["length"] > own.length * first["length"]:
            yield "longer", row["length"], own.length * first["length"]
        if row["length"] < first["length"] / own.length:
            yield "shorter", row["length"], first["length"] / own.length
        if before is not None and "kl" in row:
            most = own.kl * max(before["kl"], SLIGHT)
            if not row["kl"] <= most:
                yield "kl", row["kl"], most
        explained = row.get("explained_variance", 1.0)
        if place >= SETTLING and explained < own.explained_variance:
            yield "explained_variance", explained, own.explained_variance
        if row["reward_std"] == 0:
            yield "constant", row["reward"], 0.0
        elif self.compares and row["flat"] >= own.flat:
            yield "flat", row["flat"], own.flat
        if self.bound is not None:
            most, budget = self.bound.maximum, self.bound.budget
            if row["lambda"] >= most and row["cost"] > budget:
                yield "budget", row["cost"], budget


def first_of(*asked: Callable[[StepInfo], Action | None]) -> Callable[[StepInfo], Action | None]:
    """Asks all, and does the gravest that one of them says: rollback, stop, mark."""

    def on_step(info: StepInfo) -> Action | None:
        said = [one(info) for one in asked]
        order: tuple[Action, ...] = ("rollback", "stop", "mark")
        return next((action for action in order if action in said), None)

    return on_step


def recorded(alarms: Sequence[Alarm]) -> list[dict[str, Any]]:
    """For the details of a stage."""
    return [asdict(alarm) for alarm in alarms]
