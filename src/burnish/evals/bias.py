"""What a judge's verdicts follow besides quality: a reply's place, its length, who wrote it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from burnish.evals.resampling import Array, widening
from burnish.evals.statistics import mean_figure, wilson
from burnish.records import Figure
from burnish.rewards.candidates import Candidate
from burnish.rewards.judge import Duel

Pair = tuple[Candidate, Candidate]
DRAWS = 1000

_PADDING = {
    "en": " In other words, this is the answer to what was asked. It has been given in full above, "
    "and nothing of importance was left out.",
    "zh": "换句话说，以上就是对所问问题的回答。上面已经完整地给出了答案，没有遗漏任何重要内容。",
}


@dataclass(frozen=True)
class PairBias:
    """Of pairs that a judge was asked about, with 95 % intervals.

    ``first``: how often a verdict that names one reply names the one shown first; 0.5 is fair.
    ``split``: how often the two orders name different winners, or one a tie.
    ``longer``: how often the winner is the longer reply; more than 0.5 may also be merit.
    ``padded``: how often a reply loses to itself with empty words added; 0 is fair. NaN where
    no such pairs were asked.
    ``missing``: pairs without a verdict in both orders.
    """

    first: Figure
    split: Figure
    longer: Figure
    padded: Figure
    missing: int


def pair_bias(gaps: Sequence[int], duels: Sequence[Duel], probes: Sequence[Duel]) -> PairBias:
    """Bias of a batch of verdicts.

    Args:
        gaps: of each pair, characters of the left reply less those of the right.
        duels: what came of the pairs.
        probes: what came of ``padded_pairs``.
    """
    asked = [(gap, duel) for gap, duel in zip(gaps, duels, strict=True) if duel.asked]
    named, groups = [], []
    for at, (_, duel) in enumerate(asked):
        for verdict, side in ((duel.forward, 1), (duel.backward, -1)):
            if verdict:
                named.append(float(verdict == side))
                groups.append(str(at))
    whole = [duel for _, duel in asked if duel.winner is not None]
    split = sum(duel.forward != duel.backward for duel in whole)
    lengths = [gap * duel.winner for gap, duel in asked if duel.winner and gap]
    tried = [duel for duel in probes if duel.winner is not None]
    return PairBias(
        first=mean_figure(named, groups),
        split=wilson(split, len(whole)),
        longer=wilson(sum(length > 0 for length in lengths), len(lengths)),
        padded=wilson(sum(duel.winner == -1 for duel in tried), len(tried)),
        missing=len(asked) - len(whole),
    )


def padded_pairs(candidates: Sequence[Candidate], count: int, seed: int) -> list[Pair]:
    """Replies beside themselves with words added that say nothing; drawn by seed."""
    drawn = random.Random(seed).sample(list(candidates), min(count, len(candidates)))
    return [(one, replace(one, reply=one.reply + _PADDING[one.lang])) for one in drawn]


def length_correlation(lengths: Sequence[int], grades: Sequence[float | None]) -> Figure:
    """Spearman's rank correlation of a reply's characters and its grade; the interval by Fisher's
    z with the standard error of Fieller et al. (1957).

    NaN where there are fewer than four grades, or all are the same.
    """
    there = [
        (length, grade) for length, grade in zip(lengths, grades, strict=True) if grade is not None
    ]
    long, known = zip(*there, strict=True) if there else ((), ())
    if len(there) < 4 or len(set(known)) == 1 or len(set(long)) == 1:
        return Figure(math.nan, -1.0, 1.0, len(there))
    value = float(stats.spearmanr(long, known).statistic)
    z = math.atanh(max(-0.999999, min(0.999999, value)))
    half = 1.96 * 1.03 / math.sqrt(len(there) - 3)
    return Figure(value, math.tanh(z - half), math.tanh(z + half), len(there))


def self_preference(
    labels: Sequence[float | None], grades: Sequence[float | None], own: Sequence[bool], seed: int
) -> Figure:
    """How often a judge grades a reply of its own model above one of others that people gave the
    same label; ties are half, 0.5 is fair (self-enhancement bias: Zheng et al. 2023, section 3.3).

    All pairs of equal label count alike. The 95 % interval is a bootstrap over replies; where every
    pair came out alike it is Wilson's over the fewer of the two sides. ``n`` are the model's own
    replies in those pairs; without any NaN between 0 and 1.

    Args:
        labels: people's, one a reply; those without a label or grade do not count.
        grades: the judge's.
        own: whether the judge's own model wrote the reply.
        seed: of the bootstrap.
    """
    rows = [
        (mine, label, grade)
        for mine, label, grade in zip(own, labels, grades, strict=True)
        if label is not None and grade is not None
    ]
    strata, values = (sorted({row[at] for row in rows}) for at in (1, 2))
    cells = np.zeros((2, len(strata), len(values)))  # others' and own replies by label and grade
    for mine, label, grade in rows:
        cells[int(mine), strata.index(label), values.index(grade)] += 1
    cells = cells[:, cells.sum(axis=2).all(axis=0)]  # labels that both sides have
    others, mine = cells.sum(axis=(1, 2))
    if not mine:
        return Figure(float("nan"), 0.0, 1.0, 0)
    value, total = float(_win_rate(cells[None])[0]), int(cells.sum())
    drawn = np.random.default_rng(seed).multinomial(total, cells.ravel() / total, DRAWS)
    rates = _win_rate(drawn.reshape(DRAWS, *cells.shape).astype(np.float64))
    known = rates[~np.isnan(rates)]
    if np.ptp(known) == 0:
        even = min(mine, others)
        return replace(wilson(value * even, even), n=int(mine))
    wide = value + (known - value) * widening(total, 0.95)
    low, high = np.clip(np.quantile(wide, [0.025, 0.975]), 0.0, 1.0)
    return Figure(value, float(low), float(high), int(mine))


def _win_rate(cells: Array) -> Array:
    """Of counts ``[D, 2, S, K]`` the share of pairs in a stratum won by own replies, ``[D]``."""
    others, own = cells[:, 0], cells[:, 1]
    beaten = np.cumsum(others, axis=2) - others / 2
    pairs = (own.sum(axis=2) * others.sum(axis=2)).sum(axis=1)
    wins = (own * beaten).sum(axis=(1, 2))
    rates: Array = np.divide(wins, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    return rates
