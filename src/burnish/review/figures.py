"""What the decisions say of the reviewers, of each other, and of the machine's labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from burnish.evals.agreement import THRESHOLD, Agreement, agreement
from burnish.evals.statistics import wilson
from burnish.records import Figure
from burnish.review.desk import Case

MACHINE = "machine"


@dataclass(frozen=True)
class Reviewer:
    """One reviewer: ``right`` is the share of gold items answered rightly, ``unreliable`` whether
    that is below the bound beyond chance; ``seconds`` the median time of a decision."""

    name: str
    decided: int
    edited: int
    seconds: float
    right: Figure
    unreliable: bool

    @property
    def an_hour(self) -> int:
        """Decisions an hour at the median time; 0 where no time is known."""
        return round(3600 / self.seconds) if self.seconds else 0


def reviewers(cases: Sequence[Case], names: Iterable[str], bound: float) -> list[Reviewer]:
    """Every reviewer; a 95 % Wilson interval below ``bound`` makes one unreliable."""
    found = []
    for name in names:
        own = [(case, vote) for case in cases for vote in case.votes if vote.reviewer == name]
        asked = [(case, vote) for case, vote in own if case.item.kind == "gold"]
        hits = sum(vote.choice == case.item.answer for case, vote in asked)
        right = wilson(hits, len(asked)) if asked else Figure(float("nan"), 0.0, 1.0, 0)
        seconds = [vote.seconds for _, vote in own if vote.seconds > 0]
        found.append(
            Reviewer(
                name,
                len(own),
                sum(vote.edited is not None for _, vote in own),
                median(seconds) if seconds else 0.0,
                right,
                bool(asked) and right.high < bound,
            )
        )
    return found


def unreliable(cases: Sequence[Case], bound: float) -> frozenset[str]:
    """The names of reviewers whose gold answers are below the bound."""
    names = {vote.reviewer for case in cases for vote in case.votes}
    return frozenset(one.name for one in reviewers(cases, names, bound) if one.unreliable)


def among_people(
    cases: Sequence[Case], without: frozenset[str] = frozenset(), *, single: bool = False
) -> Agreement | None:
    """How far reviewers agree on all pairs, or on all single replies, that are no gold; None where
    nobody decided any."""
    asked = [case for case in cases if case.item.kind != "gold" and case.item.single == single]
    return _agreement(asked, without, THRESHOLD)


def with_machine(
    cases: Sequence[Case],
    threshold: float = THRESHOLD,
    without: frozenset[str] = frozenset(),
    *,
    single: bool = False,
) -> Agreement | None:
    """Whether the machine's labels of pairs, or of single replies, may be used, by the spot checks
    alone.

    The critical items were chosen because the machine may be wrong there, and would do it
    injustice. None where nobody decided a spot check.
    """
    asked = [case for case in cases if case.item.kind == "spot" and case.item.single == single]
    return _agreement(asked, without, threshold)


def _agreement(
    cases: Sequence[Case], without: frozenset[str], threshold: float
) -> Agreement | None:
    votes = [
        {vote.reviewer: vote.choice for vote in case.votes if vote.reviewer not in without}
        for case in cases
    ]
    names = sorted({name for row in votes for name in row})
    if not names:
        return None
    asked = [(case, row) for case, row in zip(cases, votes, strict=True) if row]
    columns = {name: [row.get(name) for _, row in asked] for name in names}
    machine = [case.item.machine for case, _ in asked]
    return agreement(columns, (MACHINE, machine), threshold=threshold)


def label_rows(cases: Sequence[Case]) -> list[dict[str, str | None]]:
    """The spot checks as ``burnish data agree`` reads them: the machine's label beside people's."""
    names = sorted({vote.reviewer for case in cases for vote in case.votes})
    return [
        {
            "id": case.item.id,
            MACHINE: case.item.machine,
            **dict.fromkeys(names),
            **{vote.reviewer: vote.choice for vote in case.votes},
        }
        for case in cases
        if case.item.kind == "spot" and case.votes
    ]


def progress(cases: Sequence[Case]) -> dict[str, int]:
    """How many items there are, and what became of them."""
    kinds = Counter(case.item.kind for case in cases)
    return {
        "items": len(cases),
        "critical": kinds["critical"],
        "spot": kinds["spot"],
        "gold": kinds["gold"],
        "singles": sum(case.item.single for case in cases),
        "decided": sum(bool(case.votes) for case in cases),
        "decisions": sum(len(case.votes) for case in cases),
        "disputed": sum(case.disputed for case in cases),
        "settled": sum(case.settled is not None for case in cases),
        "locked": sum(case.locked for case in cases),
    }
