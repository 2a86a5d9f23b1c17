"""A live experiment between two registered versions: who gets which, what came of it, a verdict.

The definition lies in ``ab/<name>.json`` beside the registry; outcomes are the registry's feedback
rows, counted in the order of their sequence numbers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from burnish.config import InputError, Problem, Settings
from burnish.evals.sequential import Conclusion, Outcome, StopRule, follow
from burnish.store import atomic, formats
from burnish.store.metrics import finite
from burnish.store.names import check_name
from burnish.store.registry import Feedback, Registry

VALUE = "value"


class Change(Settings):
    """From the feedback row after ``after`` on, the challenger gets ``share`` of the users."""

    after: int
    share: float = Field(ge=0, le=1)


class Experiment(Settings):
    """``incumbent`` and ``challenger`` are refs; ``shares``: who got what since when, the last one
    now. ``verdict``: its number in the registry once it has been written there."""

    name: str
    incumbent: str
    challenger: str
    shares: list[Change] = Field(min_length=1)
    rule: StopRule = StopRule()
    verdict: int | None = None

    @property
    def share(self) -> float:
        """The challenger's share of users now."""
        return self.shares[-1].share


@dataclass(frozen=True)
class Read:
    """Outcomes of an experiment in order, and how many feedback rows of it had no number."""

    outcomes: list[Outcome]
    unreadable: int


def assign(experiment: Experiment, user: str) -> str:
    """The ref that serves ``user``: always the same one while the share stays, and when it rises
    nobody leaves the challenger (each user has a place in [0, 1) by a hash)."""
    digest = hashlib.sha256(f"{experiment.name}\x1f{user}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return experiment.challenger if place < experiment.share else experiment.incumbent


def start(
    registry: Registry, name: str, incumbent: str, challenger: str, share: float, rule: StopRule
) -> Experiment:
    """Define an experiment; feedback that came before it does not count.

    Raises:
        InputError: the name is taken or bad, a model is not registered, or they are the same.
    """
    path = _path(registry, name)
    if path.exists():
        raise InputError(Problem(str(path), None, "name", "exists already", "another name"))
    refs = [registry.get(registry.alias(ref) or ref).ref for ref in (incumbent, challenger)]
    if refs[0] == refs[1]:
        raise InputError(Problem("", None, "", f"both are {refs[0]}", "two versions"))
    change = Change(after=_last(registry), share=share)
    made = Experiment(name=name, incumbent=refs[0], challenger=refs[1], shares=[change], rule=rule)
    _save(registry, made)
    return made


def load(registry: Registry, name: str) -> Experiment:
    """An experiment by name; raises InputError naming those that exist."""
    path = _path(registry, name)
    if not path.is_file():
        known = ", ".join(names(registry)) or "none yet"
        raise InputError(Problem(name, None, "", "no such experiment", f"known: {known}"))
    return Experiment.model_validate_json(path.read_bytes())


def names(registry: Registry) -> list[str]:
    """The experiments there are."""
    return sorted(path.stem for path in (registry.path.parent / "ab").glob("*.json"))


def set_share(registry: Registry, experiment: Experiment, share: float) -> Experiment:
    """Give the challenger another share of the users from now on."""
    change = Change(after=_last(registry), share=share)
    changed = experiment.model_copy(update={"shares": [*experiment.shares, change]})
    _save(registry, changed)
    return changed


def record(registry: Registry, experiment: Experiment, file: Path) -> tuple[int, int]:
    """Take outcomes from a file into the registry; a ``request`` counts once however often sent.

    A row is ``{"request", "arm", "user", "value", "metrics": {name: number}}``; ``arm`` is a ref,
    ``user`` and ``metrics`` may be absent.

    Returns:
        How many were new, and how many were known.

    Raises:
        InputError: names every row that has no request, arm or number; nothing is taken then.
    """
    rows, problems = [], []
    for row in formats.rows(file):
        if isinstance(row, Problem):
            problems.append(row)
            continue
        arm, request = row.value.get("arm"), row.value.get("request")
        if arm not in (experiment.incumbent, experiment.challenger):
            expected = f"{experiment.incumbent} or {experiment.challenger}"
            problems.append(Problem(str(file), row.line, "arm", f"found {arm!r:.80}", expected))
        elif not isinstance(request, str | int):
            problems.append(Problem(str(file), row.line, "request", "missing", "an id"))
        elif not values_of(row.value):
            problems.append(Problem(str(file), row.line, VALUE, "no number", "a finite number"))
        else:
            rows.append((str(request), str(arm), row.value))
    if problems:
        raise InputError(problems)
    new = sum(registry.add_feedback(f"{experiment.name}:{r}", arm, v) for r, arm, v in rows)
    return new, len(rows) - new


def read(registry: Registry, experiment: Experiment) -> Read:
    """The outcomes since the experiment began."""
    found, unreadable = [], 0
    for row, period in _since(registry, experiment):
        arm = row.content.get("arm") or row.ref
        if arm not in (experiment.incumbent, experiment.challenger):
            continue
        values = values_of(row.content)
        if not values:
            unreadable += 1
            continue
        user = row.content.get("user") or row.content.get("request") or row.key
        found.append(Outcome(int(arm == experiment.challenger), str(user), values, period))
    return Read(found, unreadable)


def values_of(content: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a feedback row: ``value`` (or ``label``, true or false) and ``metrics``."""
    metrics = content.get("metrics")
    told = dict(metrics) if isinstance(metrics, Mapping) else {}
    told[VALUE] = content.get(VALUE, content.get("label"))
    return {
        str(name): float(value)
        for name, value in told.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def conclude(registry: Registry, experiment: Experiment) -> tuple[Conclusion, Read]:
    """Where the experiment stands; when it has ended, its verdict goes into the registry, once."""
    found = read(registry, experiment)
    conclusion = follow(found.outcomes, experiment.rule)
    if conclusion.ended and experiment.verdict is None:
        close(registry, experiment, conclusion)
    return conclusion, found


def end(registry: Registry, experiment: Experiment) -> Conclusion:
    """End an experiment where it stands; one that is open is recorded as undecided."""
    conclusion, _ = conclude(registry, experiment)
    if load(registry, experiment.name).verdict is None:
        close(registry, experiment, conclusion)
    return conclusion


def close(registry: Registry, experiment: Experiment, conclusion: Conclusion) -> Experiment:
    """Write the verdict into the registry and mark the experiment as ended."""
    details = {
        "experiment": experiment.name,
        "reason_zh": conclusion.reason_zh,
        "outcomes": conclusion.at,
        "rule": experiment.rule.model_dump(mode="json"),
        "standings": finite([asdict(standing) for standing in conclusion.standings]),
    }
    number = registry.add_verdict(
        0, experiment.challenger, experiment.incumbent, conclusion.decision,
        f"A/B {experiment.name}: {conclusion.reason}", details,
    )  # fmt: skip
    ended = experiment.model_copy(update={"verdict": number})
    _save(registry, ended)
    return ended


def _since(registry: Registry, experiment: Experiment) -> Iterator[tuple[Feedback, int]]:
    starts = [change.after for change in experiment.shares]
    for row in registry.feedback(starts[0]):
        yield row, sum(row.sequence > after for after in starts) - 1


def _last(registry: Registry) -> int:
    return max((row.sequence for row in registry.feedback()), default=0)


def _path(registry: Registry, name: str) -> Path:
    return registry.path.parent / "ab" / f"{check_name(name)}.json"


def _save(registry: Registry, experiment: Experiment) -> None:
    atomic.write_json(_path(registry, experiment.name), experiment.model_dump(mode="json"))
