"""A reward model held against sets of preference pairs: scores, figures, what is written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from burnish.evals.calibration import calibration_error, fit_temperature
from burnish.evals.ranking import Ranked, accuracy, report
from burnish.models.load import Loaded
from burnish.records import Figure, Preference
from burnish.rewards.reward_model import RewardModel
from burnish.stages import training
from burnish.stages.base import derived_seed
from burnish.stages.training import OBJECTIVE
from burnish.stages.unseen import TOPICS, Own, best_of_n

HELDOUT = "heldout"


@dataclass(frozen=True)
class Scored:
    """Pairs that fit the model's context, with ``outputs [P, 2, M, K]``: each member's heads on
    the chosen and the rejected reply."""

    records: list[Preference]
    units: list[Any]
    outputs: Tensor
    ranked: Ranked

    @property
    def too_long(self) -> int:
        """How many did not fit."""
        return len(self.records) - len(self.units)


def scored(
    model: RewardModel,
    records: Sequence[Preference],
    tokens_per_batch: int,
    objectives: Sequence[str] = (),
) -> Scored:
    """Score pairs with all members of a reward model.

    Raises:
        InputError: there are pairs, and all of them are longer than the model's context.
    """
    loaded = Loaded(model.model, model.tokenizer, "", None)
    units = training.pairs(loaded, records, objectives)
    found = model.outputs_of(units, tokens_per_batch)
    outputs = found.reshape(len(units), 2, *found.shape[1:])
    sums = model.sums(found).reshape(len(units), 2, len(model.members))
    lengths = [[float(sum(one.mask)) for one in unit] for unit in units]
    groups = {record.id: record.group or record.id for record in records}
    ranked = Ranked(
        members=sums.double().numpy(),
        lengths=torch.tensor(lengths).reshape(len(units), 2).double().numpy(),
        groups=[groups[unit[0].id] for unit in units],
    )
    return Scored(list(records), units, outputs, ranked)


def measure(
    model: RewardModel,
    sets: Mapping[str, Sequence[Preference]],
    tokens_per_batch: int,
    *,
    objectives: Sequence[str] = (),
    own: Own | None = None,
    seed: int = 0,
) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Figures and details of a reward model on sets of pairs, ``heldout`` being one of them.

    A temperature is fitted to one half of the held-out groups; the calibration reported of them is
    that of the other half, before and after, and of other sets that of all pairs.

    Returns:
        ``heldout_accuracy``, ``left_out_accuracy`` and ``ood_accuracy.NAME`` with intervals over
        groups; and ``sets``, ``temperature``, ``by_topic``, ``calibration_error`` (of all held-out
        pairs) and, where there are ``own`` replies, ``best_of_n``.
    """
    found = {name: scored(model, part, tokens_per_batch, objectives) for name, part in sets.items()}
    held = found[HELDOUT]
    temperature, rest = _calibrated(held.ranked, seed)
    reports = {
        name: report(one.ranked, temperature, rest if name == HELDOUT else None)
        for name, one in found.items()
        if one.units
    }
    figures = {
        _figure_name(name): accuracy(one.ranked.gaps, one.ranked.groups)
        for name, one in found.items()
        if one.units
    }
    figures |= by_objective(objectives, held)
    details: dict[str, Any] = {
        "sets": reports,
        "temperature": temperature,
        "by_topic": _by_topic(held),
        "calibration_error": calibration_error(held.ranked.gaps.tolist()),
        "too_long": {name: one.too_long for name, one in found.items() if one.too_long},
    }
    if own is not None:
        details["best_of_n"] = best_of_n(model, own)
    return figures, details


def _figure_name(name: str) -> str:
    return f"{name}_accuracy" if name in (HELDOUT, TOPICS) else f"ood_accuracy.{name}"


def _calibrated(held: Ranked, seed: int) -> tuple[float | None, Ranked | None]:
    """The temperature of one half of the groups, and the other half; None and None where a half
    has no pairs, or all scores are equal."""
    halves = np.array(
        [derived_seed("calibration", seed, group) % 2 == 0 for group in held.groups], dtype=bool
    )
    other = held.part(~halves)
    temperature = fit_temperature(held.part(halves).gaps.tolist())
    return (temperature, other) if temperature and other.groups else (None, None)


def by_objective(names: Sequence[str], pairs: Scored) -> dict[str, Figure]:
    """Accuracy of each head (members' mean) on the held-out pairs that speak of its objective."""
    found = {}
    gaps = (pairs.outputs[:, 0] - pairs.outputs[:, 1]).mean(1)
    for k, name in enumerate(names):
        better = torch.tensor([unit[0].per_segment[OBJECTIVE + name] for unit in pairs.units])
        speaks = better != 0
        signed = (gaps[:, k] * better.sign())[speaks]
        if len(signed):
            groups = pairs.ranked.part(speaks.numpy()).groups
            found[f"heldout_accuracy.{name}"] = accuracy(signed.tolist(), groups)
    return found


def _by_topic(pairs: Scored) -> dict[str, list[float]]:
    """Accuracy and number of pairs by topic."""
    topics = {record.id: record.topic for record in pairs.records}
    found: dict[str, list[float]] = {}
    for unit, gap in zip(pairs.units, pairs.ranked.gaps, strict=True):
        found.setdefault(topics[unit[0].id], []).append(float(gap > 0))
    return {topic: [sum(v) / len(v), len(v)] for topic, v in sorted(found.items())}
