"""How well scores rank pairs of replies: accuracy, calibration, length, agreement of members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from burnish.evals.calibration import calibration_error, reliability
from burnish.evals.statistics import clustered_bootstrap, mean_figure
from burnish.records import Figure

DRAWS = 500
"""Bootstrap samples of a correlation: each ranks all replies anew."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """Pairs with their scores.

    ``members [P, 2, M]`` are those of each member for the chosen and the rejected reply (M is 1
    for a single reward model); ``lengths [P, 2]`` the replies' tokens; ``groups`` P names: pairs of
    one group are not independent.
    """

    members: Array
    lengths: Array
    groups: Sequence[str]

    @property
    def gaps(self) -> Array:
        """``[P]``: mean score of the chosen reply less that of the rejected one."""
        gaps: Array = self.member_gaps.mean(1)
        return gaps

    @property
    def member_gaps(self) -> Array:
        """``[P, M]``."""
        gaps: Array = self.members[:, 0] - self.members[:, 1]
        return gaps

    def part(self, chosen: NDArray[np.bool_]) -> Ranked:
        """The pairs where ``chosen [P]`` is true."""
        groups = [group for group, keep in zip(self.groups, chosen, strict=True) if keep]
        return Ranked(self.members[chosen], self.lengths[chosen], groups)


def accuracy(gaps: Sequence[float] | Array, groups: Sequence[str] | None = None) -> Figure:
    """The share of pairs whose chosen reply scores higher; a tie is not right."""
    return mean_figure([float(gap > 0) for gap in gaps], groups)


def report(
    pairs: Ranked, temperature: float | None = None, calibrated: Ranked | None = None
) -> dict[str, Any]:
    """All that is said of one set of pairs, ready for JSON.

    ``accuracy`` of the members' mean, and of each of ``members``; ``calibration`` as the scores
    are (``before``) and divided by ``temperature`` (``after``), of the pairs ``calibrated`` where
    those are not all; ``length``, see ``length_report``; of an ensemble its ``agreement``.
    """
    gaps = (calibrated or pairs).gaps
    found: dict[str, Any] = {
        "accuracy": asdict(accuracy(pairs.gaps, pairs.groups)),
        "calibration": {"before": _calibration(gaps)},
        "length": length_report(pairs),
    }
    if temperature is not None:
        found["calibration"]["after"] = _calibration(gaps / temperature)
    if pairs.members.shape[2] > 1:
        found["members"] = [
            asdict(accuracy(gaps, pairs.groups)) for gaps in np.moveaxis(pairs.member_gaps, 1, 0)
        ]
        found["agreement"] = agreement_report(pairs)
    return found


def _calibration(gaps: Array) -> dict[str, Any]:
    values = gaps.tolist()
    return {"error": calibration_error(values), "bins": [asdict(b) for b in reliability(values)]}


def length_report(pairs: Ranked) -> dict[str, Any]:
    """What scores owe to length.

    ``scores`` is Spearman's correlation of score and length over all replies, ``gaps`` that of
    their differences within a pair (which no prompt can make), both left out where a side is
    constant; ``longer_chosen`` the share of pairs of unequal length whose chosen reply is the
    longer, so what a judge of length alone would get; ``accuracy`` by whether it is.
    """
    scores, lengths = pairs.members.mean(2), pairs.lengths
    difference: Array = lengths[:, 0] - lengths[:, 1]
    unequal: NDArray[np.bool_] = difference != 0
    groups = np.asarray(pairs.groups)
    sides: dict[str, NDArray[np.bool_]] = {
        "longer": difference > 0,
        "same": ~unequal,
        "shorter": difference < 0,
    }
    right: NDArray[np.bool_] = pairs.gaps > 0
    found = {
        "scores": _correlation(scores.ravel(), lengths.ravel(), np.repeat(groups, 2)),
        "gaps": _correlation(pairs.gaps, difference, groups),
        "longer_chosen": _share(sides["longer"][unequal], groups[unequal]),
    }
    by_side = {
        name: _share(right[where], groups[where]) for name, where in sides.items() if where.any()
    }
    return {name: value for name, value in found.items() if value} | {"accuracy": by_side}


def agreement_report(pairs: Ranked) -> dict[str, Any]:
    """``all_agree``: the share of pairs on which all members prefer the same reply; the accuracy of
    their mean where they ``agree`` and where they ``disagree``; ``spread``, the mean standard
    deviation of the members' gaps, in logits."""
    gaps, groups = pairs.member_gaps, np.asarray(pairs.groups)
    agree = np.logical_or((gaps > 0).all(axis=1), (gaps < 0).all(axis=1))
    right: NDArray[np.bool_] = pairs.gaps > 0
    found: dict[str, Any] = {
        "all_agree": _share(agree, groups),
        "agree": _share(right[agree], groups[agree]),
        "disagree": _share(right[~agree], groups[~agree]),
        "spread": float(gaps.std(1).mean()) if len(gaps) else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _share(values: NDArray[np.bool_], groups: NDArray[np.str_]) -> dict[str, Any] | None:
    """A share as a figure; None where there is nothing to share."""
    return asdict(mean_figure(values.astype(float), groups.tolist())) if len(values) else None


def _correlation(left: Array, right: Array, groups: NDArray[np.str_]) -> dict[str, Any] | None:
    """Spearman's correlation with a bootstrap interval over groups."""
    if len(left) < 3 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None

    def statistic(places: Array) -> float:
        chosen = places.astype(int)
        ranks = [stats.rankdata(side[chosen]) for side in (left, right)]
        deviations = [rank - rank.mean() for rank in ranks]
        scale = float(np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
        return float(deviations[0] @ deviations[1]) / scale if scale else 0.0

    places = np.arange(len(left), dtype=float)
    return asdict(clustered_bootstrap(places, groups.tolist(), statistic, draws=DRAWS))
