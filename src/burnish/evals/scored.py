"""What is told of many scores: how they are distributed, and what a judge's verdicts follow."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from burnish.evals.bias import length_correlation, pair_bias
from burnish.records import Figure
from burnish.rewards.candidates import Candidate
from burnish.rewards.judge import Duel

PAIRWISE = "pairwise"
JUDGE = "judge"


class ScoreTally:
    """Takes scores as they come and holds numbers only: 8 bytes for each.

    Args:
        names: of the scorers.
        threshold: of the total of a record's first reply.
    """

    def __init__(self, names: Sequence[str], threshold: float) -> None:
        self._columns = {name: array("d") for name in [*names, "total"]}
        self._lengths, self._gaps = array("q"), array("q")
        self._duels: list[Duel] = []
        self._kinds: dict[Duel, Duel] = {}
        self.threshold = threshold
        self.records = self.scored = self.reached = 0

    def add(
        self,
        replies: Sequence[Candidate],
        scores: Sequence[Mapping[str, float]],
        totals: Sequence[float | None],
    ) -> None:
        """A record's replies, their scores by scorer and their totals."""
        for reply, row, total in zip(replies, scores, totals, strict=True):
            for name, column in self._columns.items():
                value = total if name == "total" else row.get(name)
                column.append(math.nan if value is None else value)
            self._lengths.append(len(reply.reply))
        self.records += 1
        self.scored += totals[0] is not None
        self.reached += self.reaches(totals[0])

    def reaches(self, total: float | None) -> bool:
        """Whether a total is there and at least the threshold."""
        return total is not None and total >= self.threshold

    def add_duel(self, left: Candidate, right: Candidate, duel: Duel) -> None:
        """What a judge said of a pair."""
        self._gaps.append(len(left.reply) - len(right.reply))
        self._duels.append(self._kinds.setdefault(duel, duel))  # there are two dozen kinds

    def mean(self, name: str) -> Figure:
        """The mean of a scorer, or of ``total``, of these replies; NaN where none has one."""
        values = np.array(self._columns[name])
        there = values[~np.isnan(values)]
        mean = float(there.mean()) if len(there) else math.nan
        return Figure(mean, mean, mean, len(there))

    def report(self, probes: Sequence[Duel] = ()) -> dict[str, Any]:
        """All of it as JSON.

        Args:
            probes: what a judge said of pairs of ``bias.padded_pairs``.
        """
        found: dict[str, Any] = {
            "records": self.records,
            "replies": len(self._lengths),
            "threshold": self.threshold,
            "at least": self.reached,
            "scores": {name: distribution(column) for name, column in self._columns.items()},
        }
        if JUDGE in self._columns:
            grades = [None if math.isnan(grade) else grade for grade in self._columns[JUDGE]]
            found["length and grade"] = as_json(length_correlation(self._lengths, grades))
        if self._duels:
            winners = [duel.winner for duel in self._duels]
            found[PAIRWISE] = {
                "chosen": winners.count(1), "rejected": winners.count(-1), "tie": winners.count(0),
                "missing": winners.count(None),
            }  # fmt: skip
            bias = pair_bias(self._gaps, self._duels, probes)
            parts = ("first", "split", "longer", "padded")
            found["bias"] = {name: as_json(getattr(bias, name)) for name in parts}
        return found


def distribution(values: Sequence[float]) -> dict[str, Any]:
    """Number, missing ones (NaN), mean, and the 10th, 50th and 90th percentile."""
    every = np.asarray(values, dtype=np.float64)
    there = every[~np.isnan(every)]
    found: dict[str, Any] = {"n": len(there), "missing": len(every) - len(there)}
    if len(there):
        found["mean"] = float(there.mean())
        for percent in (10, 50, 90):
            found[f"p{percent}"] = float(np.percentile(there, percent))
    return found


def as_json(figure: Figure) -> dict[str, Any]:
    """A figure's parts; null for what is not a number."""
    return {name: part if math.isfinite(part) else None for name, part in asdict(figure).items()}
