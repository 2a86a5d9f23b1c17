"""Is an exported model still the model? Paired with its source on the same items, against margins.

An export cannot gain; it is asked how much it lost. A metric holds when a loss of its margin or
more is rejected (non-inferiority), and is lost when the measured loss is above the margin. Where a
policy says so, it is also asked what it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from burnish.config import Settings
from burnish.evals import reasons
from burnish.evals.compare import GENERAL, Aligned
from burnish.evals.paired import Comparison, Pairs, compare, exceeds, pair
from burnish.evals.savings import Asked, Saving
from burnish.evals.statistics import sample_size, spread
from burnish.store.metrics import finite

TASKS = "tasks"
"""The items of all tasks together, each turned so that higher is better."""
MARGINS: dict[str, float | None] = {TASKS: 0.02, GENERAL: 0.05}
State = Literal["held", "lost", "unclear"]
Decision = Literal["fit", "unfit", "undecided"]


class FidelityPolicy(Settings):
    """How much an export may lose: ``margins`` by metric, a share of right answers for tasks
    (``tasks`` is all of their items) and nats a token for ``general``. Named ones are set beside
    the defaults, 0.02 and 0.05; ``null`` takes one away, and metrics that were not measured are
    passed over. ``cheaper``: figures of efficiency, each with the factor by which it has to be
    better than the source's as transformers runs it. ``alpha``: level of each test; ``min_items``:
    pairs a metric needs; ``draws``, ``seed``: of the resampling."""

    margins: dict[str, Annotated[float, Field(ge=0)] | None] = Field(default_factory=dict)
    cheaper: Asked = {}
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    min_items: int = Field(default=20, ge=2)
    power: float = Field(default=0.8, gt=0.5, lt=1)
    draws: int = Field(default=4000, ge=99)
    seed: int = 0

    @field_validator("margins")
    @classmethod
    def _beside_defaults(cls, margins: dict[str, float | None]) -> dict[str, float | None]:
        return {**MARGINS, **margins}


@dataclass(frozen=True)
class Loss:
    """One metric: ``comparison`` is export less source, ``p_held`` the p-value against a loss of
    ``margin`` or more; both and ``state`` are None for a metric without a margin."""

    metric: str
    comparison: Comparison
    margin: float | None = None
    p_held: float | None = None
    state: State | None = None


@dataclass(frozen=True)
class Fidelity:
    """The verdict on one export and why, in English and Chinese."""

    decision: Decision
    reason: str
    reason_zh: str
    losses: tuple[Loss, ...]
    saved: tuple[Saving, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """A form for JSON; numbers that are not finite become None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


def judge(policy: FidelityPolicy, sides: Aligned, saved: Sequence[Saving] = ()) -> Fidelity:
    """Hold an export's scores against its source's.

    **unfit**: a metric lost more than its margin, or a factor of ``cheaper`` is missed; **fit**:
    every metric holds and every factor is shown; **undecided**: too few items or turns to say,
    which is no reason to release.

    Args:
        saved: what the export saves, for each figure of ``cheaper``.
    """
    measured = {
        name: pair(sides.before[name], sides.after[name], sides.groups[name])
        for name in sides.before
    }
    tasks = [pairs for name, pairs in measured.items() if name != GENERAL]
    metrics = {TASKS: _together(tasks), **measured} if tasks else measured
    losses = [_loss(policy, name, pairs) for name, pairs in metrics.items()]
    lost = [loss for loss in losses if loss.state == "lost"]
    unclear = [loss for loss in losses if loss.state == "unclear"]
    judged = [loss for loss in losses if loss.state is not None]
    missed = [one for one in saved if one.state == "missed"]
    doubtful = [one for one in saved if one.state == "unclear"]
    decision: Decision = "fit"
    if lost:
        decision = "unfit"
        reason = reasons.lost(lost[0].metric, lost[0].comparison, lost[0].margin or 0.0)
    elif missed:
        decision, reason = "unfit", reasons.no_saving(missed[0])
    elif unclear or not judged:
        first = unclear[0] if unclear else losses[0]
        decision = "undecided"
        reason = reasons.unclear_loss(
            first.metric, first.comparison, first.margin, _needed(policy, first)
        )
    elif doubtful:
        decision, reason = "undecided", reasons.unclear_saving(doubtful[0])
    else:
        reason = reasons.kept_within(len(judged), saved)
    return Fidelity(decision, reason.en, reason.zh, tuple(losses), tuple(saved))


def _together(tasks: Sequence[Pairs]) -> Pairs:
    """One list of pairs. A mean over tasks would be as uncertain as the smallest of them where
    nothing changed at all; items that several tasks share are one cluster."""
    return Pairs(
        np.concatenate([one.before for one in tasks]),
        np.concatenate([one.after for one in tasks]),
        tuple(group for one in tasks for group in one.groups),
        sum(one.missing for one in tasks),
    )


def _loss(policy: FidelityPolicy, name: str, pairs: Pairs) -> Loss:
    comparison = compare([pairs], draws=policy.draws, seed=policy.seed)
    margin = policy.margins.get(name)
    if margin is None:
        return Loss(name, comparison)
    p_held = exceeds([pairs], -margin, draws=policy.draws, seed=policy.seed)
    if comparison.n < policy.min_items:
        state: State = "unclear"
    elif comparison.difference < -margin:
        state = "lost"
    else:
        state = "held" if p_held <= policy.alpha else "unclear"
    return Loss(name, comparison, margin, p_held, state)


def _needed(policy: FidelityPolicy, loss: Loss) -> int | None:
    """Pairs that would show a loss such as the measured one to be within its margin."""
    comparison, room = loss.comparison, (loss.margin or 0.0) + min(0.0, loss.comparison.difference)
    if comparison.n < 2 or room <= 0 or not np.isfinite(sd := spread(comparison)):
        return None
    return max(policy.min_items, sample_size(room, sd, policy.alpha, policy.power))


def divergence(
    source: np.ndarray[Any, Any], ids: Sequence[int], logprobs: Sequence[float]
) -> float:
    """``KL(source | export)`` in nats at one position, a lower bound of it.

    The export told its likeliest tokens only: all others are taken together as one, which never
    raises a divergence (the data-processing inequality).

    Args:
        source: log-probabilities ``[V]``.
        ids, logprobs: ``[K]`` tokens and the export's log-probabilities.
    """
    ours, theirs = source[np.asarray(ids)], np.asarray(logprobs)
    p, q = np.exp(ours), np.exp(theirs)
    rest_p, rest_q = max(1 - p.sum(), 0.0), max(1 - q.sum(), 1e-12)
    told = float((p * (ours - theirs)).sum())
    return told + (float(rest_p * np.log(rest_p / rest_q)) if rest_p > 0 else 0.0)
