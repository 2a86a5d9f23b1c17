"""How many times cheaper one model is than another: size, memory, speed, with a test of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from burnish.evals.paired import Comparison, compare, pair

Cost = Literal[
    "size_bytes", "peak_memory_bytes", "prefill_tokens_per_second", "decode_tokens_per_second"
]
Asked = dict[Cost, Annotated[float, Field(ge=1)]]
"""By figure, by which factor it has to be better."""
SPEEDS = frozenset({"prefill_tokens_per_second", "decode_tokens_per_second"})
"""Those of which more is better."""
FILE = "beside.json"
"""In an evaluation's folder: the model that was timed by turns with this one, and both sides."""
State = Literal["shown", "missed", "unclear"]


@dataclass(frozen=True)
class Saving:
    """One figure: ``factor`` is above 1 where the candidate is better, ``low, high`` its 95 %
    interval. ``p_shown`` is the one-sided p-value against less than ``asked``, ``p_missed`` that
    against ``asked`` or more, ``state`` what either shows; ``turns`` is how often both were
    measured."""

    figure: str
    factor: float
    low: float
    high: float
    asked: float
    p_shown: float
    p_missed: float
    turns: int
    state: State


def savings(
    asked: Mapping[Cost, float],
    before: Mapping[str, Sequence[float]],
    after: Mapping[str, Sequence[float]],
    *,
    alpha: float,
    draws: int,
    seed: int,
) -> list[Saving]:
    """Every figure that is asked for.

    Turns are paired by their number. The logarithm of a turn's ratio, less that of the factor
    asked for, is as likely below 0 as above it if the true factor is just that: a sign-flip test,
    whose level is exact for any number of turns. A figure measured once, such as a size, is taken
    as known.

    Args:
        before, after: by figure one positive number a turn, as many on both sides.
    """
    return [
        _saving(name, before[name], after[name], factor, alpha, draws, seed)
        for name, factor in asked.items()
    ]


def _saving(
    name: Cost,
    before: Sequence[float],
    after: Sequence[float],
    asked: float,
    alpha: float,
    draws: int,
    seed: int,
) -> Saving:
    less, more = (before, after) if name in SPEEDS else (after, before)
    first, second = np.log(less), np.log(more)
    if len(first) == 1:
        factor = low = high = more[0] / less[0]
        p_shown, p_missed = (0.0, 1.0) if factor >= asked else (1.0, 0.0)
    else:
        found = compare([pair(first, second)], False, draws=draws, seed=seed)
        bound = pair(first + math.log(asked), second)
        p_shown, p_missed = (
            compare([one], False, draws=draws, seed=seed).p_value
            for one in (bound, bound.swapped())
        )
        factor, low, high = (math.exp(at) for at in (found.difference, found.low, found.high))
    state: State = "unclear"
    if min(p_shown, p_missed) <= alpha:
        state = "shown" if p_shown < p_missed else "missed"
    return Saving(name, factor, low, high, asked, p_shown, p_missed, len(first), state)


def gain(found: Sequence[Saving]) -> Comparison:
    """The mean logarithm of the factors, for whoever wants one number: 0.69 is twice as cheap. Its
    interval is that of the logarithms' means, and no narrower than its own."""
    value, low, high = (
        float(np.mean([math.log(getattr(one, name)) for one in found]))
        for name in ("factor", "low", "high")
    )
    p_value = max(one.p_shown for one in found)
    turns = min(one.turns for one in found)
    return Comparison(value, low, high, p_value, min(1.0, 2 * p_value), "log of the factor", turns)
