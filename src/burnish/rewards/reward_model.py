"""A reward model: a language model with a scalar head that scores whole conversations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.config import InputError, Problem
from burnish.models.heads import ScalarHead, score_segments
from burnish.models.load import load_model
from burnish.models.save import write_model
from burnish.rewards import ensemble
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.likelihood import Pair, reply_units
from burnish.store import atomic, manifest
from burnish.text.batches import Segment, Unit, batches


@dataclass(frozen=True)
class RewardModel:
    """Model, tokenizer and head; higher scores are better, differences are in logits.

    ``weights`` are those of the head's outputs in ``score``, by name; one that is not named has
    weight 0. Without any, all have the same and their sum is 1. Of an ensemble this is the first
    member, ``others`` are the rest; ``offsets [M][K]`` is taken from each member's outputs, and
    ``aggregate`` makes one score of the members' weighted sums.
    """

    model: Any
    tokenizer: Any
    head: ScalarHead
    weights: Mapping[str, float] = field(default_factory=dict)
    others: tuple[RewardModel, ...] = ()
    offsets: Sequence[Sequence[float]] = ()
    aggregate: Aggregate = field(default_factory=Aggregate)

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str = "auto",
        weights: Mapping[str, float] | None = None,
        aggregate: Aggregate | None = None,
    ) -> RewardModel:
        """Read what ``fit.reward`` or ``save`` wrote, all members of an ensemble.

        Raises:
            InputError: not a model folder, one without a scalar head, members with heads of
                different objectives, or ``weights`` name an output that the head does not have.
        """
        folder = Path(folder)
        offsets = ensemble.offsets(folder)
        members = [
            _member(ensemble.member_folder(folder, number), device)
            for number in range(max(1, len(offsets)))
        ]
        first, *others = members
        _check_alike(folder, members, offsets)
        known = ", ".join(first.head.names)
        for name in weights or {}:
            if name not in first.head.names:
                found = f"this reward model has no objective {name!r}"
                raise InputError(Problem(str(folder), None, "objectives", found, f"one of {known}"))
        return cls(
            first.model,
            first.tokenizer,
            first.head,
            weights or {},
            tuple(others),
            offsets,
            aggregate or Aggregate(),
        )

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """This one and the others."""
        return (self, *self.others)

    def save(self, folder: Path | str, card: str | None = None) -> Path:
        """Write model, tokenizer and head, of all members, as one sealed folder."""
        with atomic.new_folder(folder, replace=True) as fresh:
            for number, one in enumerate(self.members):
                place = ensemble.member_folder(fresh, number)
                place.mkdir(parents=True, exist_ok=True)
                write_model(one.model, one.tokenizer, place, card, one.head)
                if number:
                    manifest.seal(place)
            if self.others:
                ensemble.seal(fresh, self.offsets)
            else:
                manifest.seal(fresh)
        return Path(folder)

    def score(self, pairs: Sequence[Pair], tokens_per_batch: int = 4096) -> list[float]:
        """One score a (prompt messages, reply) pair: the weighted sum of the head's outputs, of
        an ensemble the aggregate of its members' sums."""
        found: list[float] = self.combined(self.outputs(pairs, tokens_per_batch)).tolist()
        return found

    def spread(self, pairs: Sequence[Pair], tokens_per_batch: int = 4096) -> list[float]:
        """The standard deviation of the members' scores of each pair, in logits: how far they
        disagree. 0 for a single reward model."""
        sums = self.sums(self.outputs(pairs, tokens_per_batch))
        found: list[float] = sums.std(1, correction=0).tolist()
        return found

    def score_each(
        self, pairs: Sequence[Pair], tokens_per_batch: int = 4096
    ) -> list[dict[str, float]]:
        """The head's outputs by name of each (prompt messages, reply) pair, each the aggregate of
        the members'. They do not depend on how pairs are batched (up to rounding).
        """
        outputs = self.outputs(pairs, tokens_per_batch)
        columns = [self.combined(outputs, name).tolist() for name in self.head.names]
        return [dict(zip(self.head.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def sums(self, outputs: Tensor) -> Tensor:
        """``[P, M]``: each member's weighted sum of its outputs ``[P, M, K]``."""
        names = self.head.names
        weights = self.weights or dict.fromkeys(names, 1 / len(names))
        return outputs @ torch.tensor([float(weights.get(name, 0.0)) for name in names])

    def combined(self, outputs: Tensor, name: str | None = None) -> Tensor:
        """``[P]`` of ``outputs [P, M, K]``: the aggregate of the members' sums, or of their output
        ``name``."""
        if name is None:
            return self.aggregate.of(self.sums(outputs))
        return self.aggregate.of(outputs[..., self.head.names.index(name)])

    def outputs(self, pairs: Sequence[Pair], tokens_per_batch: int = 4096) -> Tensor:
        """``[P, M, K]``: the outputs of every member's head for each (prompt messages, reply)
        pair, read after the reply's end token, less the member's offset."""
        return self.outputs_of(reply_units(self.tokenizer, pairs), tokens_per_batch)

    def outputs_of(self, units: Sequence[Unit], tokens_per_batch: int = 4096) -> Tensor:
        """As ``outputs``, of conversations that are encoded already, ``[S, M, K]``."""
        found = [head_outputs(one.model, one.head, units, tokens_per_batch) for one in self.members]
        outputs = torch.stack(found, 1)
        return outputs - torch.tensor(self.offsets) if len(self.offsets) else outputs


@torch.no_grad()
def head_outputs(
    model: Any, head: ScalarHead, units: Sequence[Unit], tokens_per_batch: int = 4096
) -> Tensor:
    """``[S, K]`` on the CPU: the head's outputs for every segment, in the order of ``units``."""
    device = next(model.parameters()).device
    count = sum(1 if isinstance(unit, Segment) else len(unit) for unit in units)
    found = torch.zeros(count, len(head.names))
    for places, batch in batches(units, tokens_per_batch, device):
        found[places] = score_segments(model, head, batch).reshape(len(places), -1).float().cpu()
    return found


def _member(folder: Path, device: str) -> RewardModel:
    loaded = load_model(folder, device)
    head = ScalarHead.load(folder).to(loaded.model.device).eval()
    return RewardModel(loaded.model, loaded.tokenizer, head)


def _check_alike(
    folder: Path, members: Sequence[RewardModel], offsets: Sequence[Sequence[float]]
) -> None:
    names = members[0].head.names
    for number, one in enumerate(members):
        if one.head.names != names:
            found = f"member {number} scores {', '.join(one.head.names)}"
            expected = f"{', '.join(names)}, as the first member"
            raise InputError(Problem(str(folder), None, "objectives", found, expected))
    if any(len(row) != len(names) for row in offsets):
        place = str(folder / ensemble.SETTINGS)
        expected = f"{len(names)} numbers for each member"
        raise InputError(Problem(place, None, "offsets", "another number of outputs", expected))
