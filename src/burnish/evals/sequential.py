"""Two arms compared while their outcomes come: a test that may be looked at after every one.

The mixture sequential probability ratio test (Robbins 1970; Johari, Pekelis, Walsh 2017, "Always
valid inference", eq. 8): with a normal prior of variance ``tau2`` over the true difference, the
likelihood ratio exceeds 1 / alpha at any time with a chance of at most alpha where there is none.
Its inverse gives an interval that covers the truth at all times together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from burnish.config import Settings

Decision = Literal["promoted", "kept", "undecided"]


class StopRule(Settings):
    """When an experiment ends. Values are "higher is better".

    ``tau``: the size of difference that the test is made for (it stays valid for any; near the
    true one it ends soonest). ``least``: users of each arm before anything is said, since the
    variance is estimated. ``min_gain``: a challenger shown to gain less is not worth it.
    ``most``: outcomes of both arms after which the experiment ends undecided. ``guards``: for
    each further metric the fall that would still be accepted.
    """

    alpha: float = Field(0.05, gt=0, lt=0.5)
    tau: PositiveFloat = 0.1
    least: PositiveInt = 30
    min_gain: NonNegativeFloat = 0.0
    most: PositiveInt | None = None
    guards: dict[str, NonNegativeFloat] = {}


@dataclass
class Arm:
    """Running sums of one metric in one arm, by user: replies to one user are not independent."""

    users: dict[str, tuple[int, float]] = field(default_factory=dict)
    count: int = 0
    total: float = 0.0
    _squares: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def add(self, user: str, value: float) -> None:
        """Count one outcome of one user."""
        m, s = self.users.get(user, (0, 0.0))
        mm, ms, ss = self._squares
        n, t = m + 1, s + value
        self._squares = (mm + n * n - m * m, ms + n * t - m * s, ss + t * t - s * s)
        self.users[user] = (n, t)
        self.count += 1
        self.total += value

    @property
    def mean(self) -> float:
        """Mean of all outcomes; NaN without any."""
        return self.total / self.count if self.count else math.nan

    @property
    def variance(self) -> float:
        """Of the mean, by linearisation over users: ``U/(U-1) sum_u (s_u - mean m_u)^2 / n^2``."""
        users = len(self.users)
        if users < 2:
            return math.inf
        mm, ms, ss = self._squares
        spread = max(0.0, ss - 2 * self.mean * ms + self.mean**2 * mm)
        return users / (users - 1) * spread / self.count**2


def likelihood_ratio(difference: float, variance: float, tau2: float) -> float:
    """Mixture likelihood ratio of a difference with this variance, against no difference.

    For ``n`` outcomes of variance ``s2``, ``variance`` is ``s2 / n``. ``inf`` where it overflows.
    """
    if math.isinf(variance):
        return 1.0
    if variance == 0:
        return math.inf if difference else 1.0
    spread = variance + tau2
    power = tau2 * difference**2 / (2 * variance * spread)
    power += 0.5 * math.log(variance / spread)
    return math.exp(power) if power < 700 else math.inf


def half_width(variance: float, tau2: float, alpha: float) -> float:
    """Half of the interval that covers the difference at all times together with 1 - alpha."""
    if math.isinf(variance) or variance == 0:
        return math.inf if variance else 0.0
    spread = variance + tau2
    bound = 2 * math.log(1 / alpha) + math.log(spread / variance)
    return math.sqrt(variance * spread / tau2 * bound)


@dataclass(frozen=True)
class Standing:
    """One metric so far: challenger less incumbent, with the interval that holds at any time.

    ``p_value``: always valid, two-sided; it never rises. ``low, high``: the intersection of all
    intervals so far.
    """

    metric: str
    difference: float
    low: float
    high: float
    p_value: float
    users: tuple[int, int]
    outcomes: tuple[int, int]
    means: tuple[float, float]


class Metric:
    """The sequential comparison of one metric; ``arms``: incumbent, challenger, all together.

    Arms are compared within periods of equal shares of traffic, and the differences averaged by
    size: when the share of the challenger rises in good times, the times are not its merit. A
    user stays in the period that they were first seen in.
    """

    def __init__(self, name: str, rule: StopRule) -> None:
        self.name, self.rule = name, rule
        self.arms = (Arm(), Arm())
        self.periods: dict[int, tuple[Arm, Arm]] = {}
        self.first: dict[str, int] = {}
        self.p_value, self.low, self.high = 1.0, -math.inf, math.inf

    def _compared(self) -> tuple[float, float]:
        """Difference and its variance over the periods that have two users of each arm."""
        whole = [arms for arms in self.periods.values() if min(len(a.users) for a in arms) > 1]
        count = sum(arm.count for arms in whole for arm in arms)
        difference = variance = 0.0
        for one, other in whole:
            share = (one.count + other.count) / count
            difference += share * (other.mean - one.mean)
            variance += share**2 * (one.variance + other.variance)
        return difference, variance if whole else math.inf

    def add(self, arm: int, user: str, value: float, period: int = 0) -> None:
        """Count one outcome and look."""
        period = self.first.setdefault(user, period)
        self.arms[arm].add(user, value)
        self.periods.setdefault(period, (Arm(), Arm()))[arm].add(user, value)
        if min(len(one.users) for one in self.arms) < max(2, self.rule.least):
            return
        difference, variance = self._compared()
        # No spread at all says that the sample is small, not that the truth is known.
        if variance == 0:
            return
        tau2 = self.rule.tau**2
        self.p_value = min(self.p_value, 1 / likelihood_ratio(difference, variance, tau2))
        width = half_width(variance, tau2, self.rule.alpha)
        self.low, self.high = max(self.low, difference - width), min(self.high, difference + width)

    def standing(self) -> Standing:
        """Where it stands now."""
        one, other = self.arms
        return Standing(
            self.name,
            self._compared()[0] if one.count and other.count else math.nan,
            self.low,
            self.high,
            self.p_value,
            (len(one.users), len(other.users)),
            (one.count, other.count),
            (one.mean, other.mean),
        )


@dataclass(frozen=True)
class Outcome:
    """One outcome: ``arm`` 0 is the incumbent, 1 the challenger; ``values`` by metric;
    ``period``: how often the shares of traffic had changed before it."""

    arm: int
    user: str
    values: dict[str, float]
    period: int = 0


@dataclass(frozen=True)
class Conclusion:
    """``decision`` is promoted (the challenger is better), kept, or undecided; ``ended`` whether
    the stop rule says to end. ``at``: how many outcomes it took, or were looked at."""

    decision: Decision
    ended: bool
    reason: str
    reason_zh: str
    at: int
    standings: tuple[Standing, ...]


def follow(outcomes: Iterable[Outcome], rule: StopRule, target: str = "value") -> Conclusion:
    """Go through outcomes in the order they came, and stop where the rule says.

    - **kept**: a guard is shown to have fallen beyond its margin (first of all), or the target to
      gain less than ``min_gain``.
    - **promoted**: the target is shown to be better, and no guard may have fallen by its margin.
    - **undecided**: otherwise; ``ended`` when ``most`` outcomes have come.

    Each metric has its own interval at ``alpha``. Promotion needs all of them (no correction); the
    guards may each stop the experiment, so that one that is fine does so with a chance of at most
    ``alpha`` times their number.
    """
    metrics = {name: Metric(name, rule) for name in (target, *rule.guards)}
    at = 0
    for outcome in outcomes:
        at += 1
        for name, value in outcome.values.items():
            if name in metrics:
                metrics[name].add(outcome.arm, outcome.user, value, outcome.period)
        found = _judge(metrics, rule, target)
        if found is not None:
            return _conclusion(*found, at, metrics)
        if rule.most is not None and at >= rule.most:
            told = f"no difference shown in {at} outcomes", f"{at} 个结果内未见差异"
            return _conclusion("undecided", True, *told, at, metrics)
    told = f"{at} outcomes do not decide yet", f"{at} 个结果尚不足以判定"
    return _conclusion("undecided", False, *told, at, metrics)


def course(
    outcomes: Iterable[Outcome], rule: StopRule, target: str = "value"
) -> list[tuple[int, Standing]]:
    """Where the target stood after each outcome that counted for it, with the outcome's number.

    The interval of each is the one that ``follow`` would have seen then; it only narrows.
    """
    metric = Metric(target, rule)
    found = []
    for at, outcome in enumerate(outcomes, 1):
        if target in outcome.values:
            metric.add(outcome.arm, outcome.user, outcome.values[target], outcome.period)
            found.append((at, metric.standing()))
    return found


def _judge(
    metrics: dict[str, Metric], rule: StopRule, target: str
) -> tuple[Decision, bool, str, str] | None:
    for name, margin in rule.guards.items():
        if metrics[name].high < -margin:
            en = f"{name} has fallen by more than {margin:g} (at most {metrics[name].high:+.3f})"
            return "kept", True, en, f"{name} 下降超过 {margin:g}（上限 {metrics[name].high:+.3f}）"
    gain = metrics[target]
    if gain.high < rule.min_gain:
        en = f"{target} gains {gain.high:+.3f} at most, below {rule.min_gain:g}"
        return "kept", True, en, f"{target} 的增益至多 {gain.high:+.3f}，低于 {rule.min_gain:g}"
    held = all(metrics[name].low >= -margin for name, margin in rule.guards.items())
    if gain.low > 0 and gain.p_value <= rule.alpha and held:
        en = f"{target} gains at least {gain.low:+.3f}, and every guard holds"
        return "promoted", True, en, f"{target} 的增益至少 {gain.low:+.3f}，各项护栏均守住"
    return None


def _conclusion(
    decision: Decision, ended: bool, en: str, zh: str, at: int, metrics: dict[str, Metric]
) -> Conclusion:
    standings = tuple(metric.standing() for metric in metrics.values())
    return Conclusion(decision, ended, en, zh, at, standings)
