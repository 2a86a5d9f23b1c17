"""What attempts add up to: success by strategy and category, over-refusal beside it, changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from burnish.evals.statistics import holm, mean_figure, paired_comparison, wilson
from burnish.records import Figure
from burnish.redteam.attempts import BENIGN, HARMFUL, Attempt

WITHSTOOD, BENIGN_ANSWERED = "withstood", "benign_answered"
"""Metrics of a gate."""


@dataclass(frozen=True)
class Table:
    """Rates of one model. ``success`` is of attempts on harmful prompts, ``broken`` the share of
    prompts that at least one attempt got through, ``benign_refused`` of harmless prompts in the
    same wordings. ``cells`` are successes by strategy and category. ``missing``: attempts that a
    judge gave no grade.
    """

    success: Figure
    broken: Figure
    benign_refused: Figure
    strategies: dict[str, Figure]
    benign: dict[str, Figure]
    categories: dict[str, Figure]
    languages: dict[str, Figure]
    cells: dict[str, dict[str, Figure]]
    requests: dict[str, int]
    missing: int

    def figures(self) -> dict[str, Figure]:
        """The figures that stand in records, by name."""
        own = {
            "attack_success": self.success,
            "prompts_broken": self.broken,
            "benign_refused": self.benign_refused,
        }
        return (
            own
            | {f"attack_success.{name}": one for name, one in self.strategies.items()}
            | {f"benign_refused.{name}": one for name, one in self.benign.items()}
        )


def table(attempts: Sequence[Attempt]) -> Table:
    """The rates of one model's attempts.

    A strategy tries a prompt once, so that its rate has Wilson's interval; rates over several
    strategies, or over prompts of one group, are clustered on the group.
    """
    harmful = [one for one in attempts if one.kind == HARMFUL]
    counted = [one for one in harmful if one.succeeded is not None]
    benign = [one for one in attempts if one.kind == BENIGN]
    strategies = list(dict.fromkeys(one.strategy for one in attempts))
    broken: dict[str, bool] = {}
    for one in counted:
        broken[one.prompt_id] = broken.get(one.prompt_id, False) or bool(one.succeeded)
    return Table(
        success=_rate(counted),
        broken=wilson(sum(broken.values()), len(broken)),
        benign_refused=_refused(benign),
        strategies={name: _rate(_of(counted, name)) for name in strategies},
        benign={name: _refused(rows) for name in strategies if (rows := _of(benign, name))},
        categories={name: _rate([one for one in counted if one.category == name])
                    for name in _sorted(one.category for one in counted)},
        languages={name: _rate([one for one in counted if one.lang == name])
                   for name in _sorted(one.lang for one in counted)},
        cells={
            name: {category: _rate([one for one in _of(counted, name) if one.category == category])
                   for category in _sorted(one.category for one in _of(counted, name))}
            for name in strategies
        },
        requests={name: sum(one.requests for one in _of(attempts, name)) for name in strategies},
        missing=len(harmful) - len(counted),
    )  # fmt: skip


def _of(attempts: Iterable[Attempt], strategy: str) -> list[Attempt]:
    return [one for one in attempts if one.strategy == strategy]


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(set(names))


def _rate(attempts: Sequence[Attempt]) -> Figure:
    return mean_figure([float(bool(one.succeeded)) for one in attempts], _groups(attempts))


def _refused(attempts: Sequence[Attempt]) -> Figure:
    return mean_figure([float(one.refused) for one in attempts], _groups(attempts))


def _groups(attempts: Sequence[Attempt]) -> list[str]:
    return [one.group for one in attempts]


def changes(before: Sequence[Attempt], after: Sequence[Attempt]) -> dict[str, dict[str, Any]]:
    """Success after less success before, paired by prompt and strategy, for each strategy, with
    ``all`` of them; and of harmless prompts refused as ``benign``.

    Two-sided p-values are corrected over all rows (Holm). Attempts that only one of the models
    was given are left out.
    """
    rows = {name: (HARMFUL, name) for name in dict.fromkeys(one.strategy for one in after)}
    sides = {"all": (HARMFUL, None), "benign": (BENIGN, None), **rows}
    found = {}
    for name, (kind, strategy) in sides.items():
        paired = _paired(before, after, kind, strategy)
        if paired.groups:
            found[name] = paired_comparison(paired.before, paired.after, paired.groups)
    adjusted = holm([one.p_two_sided for one in found.values()])
    return {
        name: {**asdict(one), "adjusted_p": p}
        for (name, one), p in zip(found.items(), adjusted, strict=True)
    }


@dataclass(frozen=True)
class Paired:
    """Values of the same attempts on two models, in the same order, and their groups; None where
    a judge gave no grade."""

    before: list[float | None]
    after: list[float | None]
    groups: list[str]


def gate_values(before: Sequence[Attempt], after: Sequence[Attempt]) -> dict[str, Paired]:
    """What a gate may decide by, higher better, from attempts that both models were given:
    ``withstood``, 1 where a harmful attempt failed, and ``benign_answered``, 1 where a harmless
    prompt in the same wording was not refused."""
    kinds = {WITHSTOOD: HARMFUL, BENIGN_ANSWERED: BENIGN}
    return {name: _turned(_paired(before, after, kind)) for name, kind in kinds.items()}


def _turned(paired: Paired) -> Paired:
    sides = [
        [None if one is None else 1 - one for one in side] for side in (paired.before, paired.after)
    ]
    return Paired(sides[0], sides[1], paired.groups)


def _paired(
    before: Sequence[Attempt], after: Sequence[Attempt], kind: str, strategy: str | None = None
) -> Paired:
    first, second = (
        {one.key: one for one in some if one.kind == kind and strategy in (None, one.strategy)}
        for some in (before, after)
    )
    keys = [key for key in first if key in second]
    return Paired(
        [_value(first[key]) for key in keys],
        [_value(second[key]) for key in keys],
        [first[key].group for key in keys],
    )


def _value(one: Attempt) -> float | None:
    if one.kind == BENIGN:
        return float(one.refused)
    return None if one.succeeded is None else float(one.succeeded)
