"""The promotion gate: may a candidate replace the champion? It only judges; it moves nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from burnish.config import InputError, Problem, Settings
from burnish.evals import reasons, savings
from burnish.evals.constant import Commonest
from burnish.evals.paired import Comparison, Pairs, Values, compare, exceeds, pair
from burnish.evals.reasons import Reason
from burnish.evals.savings import Asked, Saving
from burnish.evals.statistics import holm, minimum_detectable_effect, sample_size, spread
from burnish.store.metrics import finite

Decision = Literal["promoted", "kept", "undecided"]
State = Literal["improved", "regressed", "noise"]
Judged = tuple[Decision, Reason, int | None]
"""With the items that would decide it."""
LEAST_CONVERSATIONS = 10
"""Below this the same reply to all may be chance."""


class GatePolicy(Settings):
    """What a candidate must show. Every metric is "higher is better", measured on held-out items.

    ``target``: metrics whose unweighted mean gain must be above 0 at the one-sided level
    ``alpha`` and at least ``min_gain``. ``cheaper``, in place of a target: figures of efficiency,
    each with the factor by which it has to be better, shown at ``alpha``; for a candidate that has
    to be no worse, but smaller. ``guards``: for each metric the fall that would still
    be accepted; a guard holds when a fall of that much or more is rejected at ``alpha``.
    ``min_items``: usable pairs that each metric needs. ``max_missing``: share of a metric's
    pairs that may lack an answer. ``max_same``: share of the evaluation's conversations that may
    get one and the same reply; a model that says it to more of them answers nothing, whatever its
    scores. ``power``: for the number of items named when undecided. ``draws``, ``seed``: of the
    resampling.
    """

    target: list[str] = []
    cheaper: Asked = {}
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    guards: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    min_items: int = Field(default=30, ge=2)
    min_gain: float = Field(default=0.01, ge=0)
    max_missing: float = Field(default=0.1, ge=0, le=1)
    max_same: float = Field(default=0.9, gt=0, le=1)
    power: float = Field(default=0.8, gt=0.5, lt=1)
    draws: int = Field(default=4000, ge=99)
    seed: int = 0

    @model_validator(mode="after")
    def _asks_one_thing(self) -> GatePolicy:
        if bool(self.target) == bool(self.cheaper):
            raise ValueError("target, cheaper: what has to be better; expected one of the two")
        if self.cheaper and not self.guards:
            raise ValueError("cheaper: anything is smaller than a model that still works; "
                             "expected guards with it, the metrics that must not fall")  # fmt: skip
        return self


@dataclass(frozen=True)
class MetricResult:
    """One metric's comparison within a verdict.

    ``adjusted_p`` is the two-sided p-value after Holm's correction over all rows of the
    verdict, and ``state`` what it says at alpha. For guards ``margin`` is the fall accepted,
    ``p_held`` the p-value against a fall of that much, ``p_failed`` that for one beyond it.
    """

    metric: str
    role: Literal["target", "guard"]
    comparison: Comparison
    adjusted_p: float
    state: State
    margin: float | None = None
    p_held: float | None = None
    p_failed: float | None = None


@dataclass(frozen=True)
class Verdict:
    """What the gate decided and why.

    ``gain`` compares the macro average of the target metrics; where the policy asks for something
    cheaper it is the mean logarithm of the factors in ``saved``. ``detectable`` is the true gain
    that these items would have found with the policy's power; ``items_needed`` how many pairs a
    metric would decide, None where decided or where no number would.
    """

    decision: Decision
    reason: str
    reason_zh: str
    gain: Comparison
    comparisons: tuple[MetricResult, ...]
    detectable: float | None = None
    items_needed: int | None = None
    saved: tuple[Saving, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """A form for JSON; numbers that are not finite become None."""
        plain: dict[str, Any] = finite(asdict(self))
        return plain


def decide(
    policy: GatePolicy,
    before: Mapping[str, Values],
    after: Mapping[str, Values],
    groups: Mapping[str, Sequence[str]] | None = None,
    said: Commonest | None = None,
    saved: Sequence[Saving] = (),
) -> Verdict:
    """Judge a candidate's scores (``after``) against the champion's (``before``).

    - **promoted**: the target's gain is above 0 at ``alpha`` and at least ``min_gain`` (or every
      factor of ``cheaper`` is shown to be reached), and every guard holds.
    - **kept** (the champion stays): the candidate gives one reply to nearly everything, a guard
      has fallen significantly beyond its margin, or the target's gain is significantly below
      ``min_gain`` (or a factor significantly below what is asked).
    - **undecided** (the champion stays too): too few usable pairs, or neither is shown.

    The guards are tested at ``alpha`` each, without a correction for their number: promotion
    needs all of the tests to succeed (an intersection-union test, Berger 1982), so a candidate
    that truly fails one requirement is promoted with a chance of at most ``alpha``, however
    many requirements there are. The target is one test because it is one average. The label of
    each single metric, where any of many might stand out by chance, is corrected (Holm).

    These levels hold for one look at items that nothing was selected on. Adding items until
    the gate opens is a different, weaker test: collect ``items_needed`` fresh ones, then ask once.

    Args:
        policy: what must be shown.
        before, after: for each metric the scores of the same items in the same order; NaN or
            None is a missing answer, never a win.
        groups: for each metric the items' cluster names; equal names are one cluster, also
            across metrics. A metric not named has independent items.
        said: the candidate's commonest reply, where replies are known.
        saved: what the candidate saves, for each figure of ``cheaper``.

    Raises:
        InputError: a metric of the policy is not among the scores, lists differ in length, or
            a score is infinite.
    """
    names = [*policy.target, *policy.guards]
    pairs = _paired(names, before, after, groups or {})
    target = [pairs[name] for name in policy.target]
    if policy.cheaper:
        gain = savings.gain(saved)
    else:
        gain = compare(target, draws=policy.draws, seed=policy.seed)
    rows = _rows(policy, pairs)
    if said is not None and _constant(policy, said):
        reason = reasons.constant(said.reply, said.share, policy.max_same)
        judged: Judged = ("kept", reason, None)
    else:
        judged = _judge(policy, target, gain, rows, saved)
    decision, reason, items = judged
    detectable = None
    if target and gain.n:
        detectable = minimum_detectable_effect(gain.n, policy.alpha, policy.power, spread(gain))
    return Verdict(
        decision, reason.en, reason.zh, gain, tuple(rows), detectable, items, tuple(saved)
    )


def _constant(policy: GatePolicy, said: Commonest) -> bool:
    """A share above ``max_same`` of enough conversations to tell."""
    return said.share > policy.max_same and said.conversations >= LEAST_CONVERSATIONS


def _judge(
    policy: GatePolicy,
    target: list[Pairs],
    gain: Comparison,
    rows: list[MetricResult],
    saved: Sequence[Saving],
) -> Judged:
    guards = [row for row in rows if row.role == "guard"]
    broken = [row for row in guards if _usable(row.comparison, policy) and _failed(policy, row)]
    if broken:
        worst = min(broken, key=lambda row: row.comparison.difference + (row.margin or 0))
        reason = reasons.guard_failed(worst.metric, worst.comparison, worst.margin)
        return "kept", reason, None
    short = [row for row in rows if not _usable(row.comparison, policy)]
    if short:
        reason = reasons.too_few(short[0].metric, short[0].comparison, policy.min_items)
        items = _items_for_gain(policy, gain) if target else None
        return "undecided", reason, max(policy.min_items, items or 0)
    lacks = _no_gain(policy, target, gain) if target else _no_saving(saved)
    if lacks is not None:
        return lacks
    unclear = [row for row in guards if row.p_held is not None and row.p_held > policy.alpha]
    if unclear:
        needs = [_items_for_guard(policy, row) for row in unclear]
        items = max((need for need in needs if need is not None), default=None)
        first = unclear[0]
        reason = reasons.unclear_guard(
            first.metric, first.comparison, first.margin, items, bool(saved)
        )
        return "undecided", reason, items
    if saved:
        return "promoted", reasons.cheaper(saved, len(guards)), None
    return "promoted", reasons.promoted(gain, len(guards)), None


def _no_gain(policy: GatePolicy, target: list[Pairs], gain: Comparison) -> Judged | None:
    """The verdict where the target's gain is not shown; None where it is."""
    too_small = _exceeds(policy, [metric.swapped() for metric in target], -policy.min_gain)
    if too_small <= policy.alpha:
        return "kept", reasons.no_gain(gain, policy.min_gain, too_small), None
    if gain.p_value > policy.alpha or gain.difference < policy.min_gain:
        items = _items_for_gain(policy, gain)
        return "undecided", reasons.unclear_gain(gain, policy.min_gain, items), items
    return None


def _no_saving(saved: Sequence[Saving]) -> Judged | None:
    """The verdict where not every factor is shown to be reached; None where all are."""
    missed = [one for one in saved if one.state == "missed"]
    if missed:
        return "kept", reasons.not_cheaper(missed[0]), None
    unclear = [one for one in saved if one.state == "unclear"]
    return ("undecided", reasons.unclear_saving(unclear[0]), None) if unclear else None


def _paired(
    names: Sequence[str],
    before: Mapping[str, Values],
    after: Mapping[str, Values],
    groups: Mapping[str, Sequence[str]],
) -> dict[str, Pairs]:
    pairs: dict[str, Pairs] = {}
    problems = []
    for name in dict.fromkeys(names):
        if name not in before or name not in after:
            known = ", ".join(sorted(set(before) & set(after))) or "none"
            problems.append(Problem("", None, name, "no such metric", f"one of: {known}"))
            continue
        try:
            pairs[name] = pair(before[name], after[name], groups.get(name))
        except ValueError as error:
            problems.append(Problem("", None, name, str(error)))
    if problems:
        raise InputError(problems)
    return pairs


def _rows(policy: GatePolicy, pairs: Mapping[str, Pairs]) -> list[MetricResult]:
    compared = {
        name: compare([metric], draws=policy.draws, seed=policy.seed)
        for name, metric in pairs.items()
    }
    adjusted = holm([comparison.p_two_sided for comparison in compared.values()])
    corrected = dict(zip(compared, adjusted, strict=True))

    def row(name: str, margin: float | None) -> MetricResult:
        comparison, p = compared[name], corrected[name]
        state: State = "noise"
        if p <= policy.alpha:
            state = "improved" if comparison.difference > 0 else "regressed"
        if margin is None:
            return MetricResult(name, "target", comparison, p, state)
        held = _exceeds(policy, [pairs[name]], -margin)
        failed = _exceeds(policy, [pairs[name].swapped()], margin)
        return MetricResult(name, "guard", comparison, p, state, margin, held, failed)

    targets = [row(name, None) for name in policy.target]
    return targets + [row(name, margin) for name, margin in policy.guards.items()]


def _exceeds(policy: GatePolicy, metrics: Sequence[Pairs], at: float) -> float:
    return exceeds(metrics, at, draws=policy.draws, seed=policy.seed)


def _usable(comparison: Comparison, policy: GatePolicy) -> bool:
    asked = comparison.n + comparison.missing
    return comparison.n >= policy.min_items and comparison.missing <= policy.max_missing * asked


def _failed(policy: GatePolicy, row: MetricResult) -> bool:
    return row.p_failed is not None and row.p_failed <= policy.alpha


def _items_for_gain(policy: GatePolicy, gain: Comparison) -> int | None:
    """To show the gain; or, where a gain is shown but a small one, that it is below the least."""
    if gain.p_value <= policy.alpha and gain.difference < policy.min_gain:
        return _items(policy, policy.min_gain - gain.difference, gain)
    return _items(policy, max(policy.min_gain, gain.difference), gain)


def _items_for_guard(policy: GatePolicy, row: MetricResult) -> int | None:
    """For the distance from the margin, planned at no change where the metric seems to gain."""
    margin = row.margin or 0.0
    distance = abs(row.comparison.difference + margin)
    return _items(policy, min(margin, distance) if margin else distance, row.comparison)


def _items(policy: GatePolicy, effect: float, comparison: Comparison) -> int | None:
    if comparison.n == 0 or effect <= 0:
        return None
    sd = spread(comparison)
    if not math.isfinite(sd):
        return None
    needed = sample_size(effect, sd, policy.alpha, policy.power)
    return max(policy.min_items, comparison.n + 1, needed)
