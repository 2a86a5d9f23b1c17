"""A reward model: a scalar head on a policy, fitted to preferences (Bradley–Terry)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from burnish.config import (
    InputError,
    ModelRef,
    PreferenceRef,
    Problem,
    Settings,
    process,
)
from burnish.engine import DatasetSource, FitResult, TrainSettings, named_trainable
from burnish.models.adapters import LoraSettings
from burnish.models.heads import ScalarHead, score_segments
from burnish.models.load import load_tokenizer
from burnish.objectives import Loss, bradley_terry, bradley_terry_heads
from burnish.records import Figure, Preference
from burnish.rewards import ensemble
from burnish.rewards.reward_model import RewardModel, head_outputs
from burnish.stages import ranking, refresh, training
from burnish.stages.base import Context, Inputs, Outcome, derived_seed
from burnish.stages.refresh import Refresh
from burnish.stages.training import OBJECTIVE, PROBABILITY
from burnish.stages.unseen import OWN, Unseen, own_replies, take_out
from burnish.store import manifest, tables
from burnish.text.batches import Batch

LEVEL_PAIRS = 512
"""Pairs whose scores say where a member's mean lies."""


class Config(Settings):
    """Fit a reward model on ``data``, starting from ``model``.

    Accuracy and calibration are measured on the held-out share of prompts (whole groups), on
    ``leave_out`` topics, none of whose pairs are trained on, and on what ``ood`` names.
    ``use_margin`` asks for a larger score difference where the margin is larger; ``centring`` keeps
    the mean score near 0. ``likelihood`` adds the model's own mean log-probability of the reply to
    the score, see ``heads.score_segments``. ``objectives`` makes one head each, trained on what the
    pairs' own ``objectives`` say of it (pairs that say nothing of any are left out); the score is
    then the heads' weighted sum. ``members`` above 1 make an ensemble: they differ by the ``seed``
    of their order of data and adapter, or each goes without another ``fold`` of the groups, or each
    starts from another ``base``: ``model``, then ``bases`` (Eisenstein et al. 2023, arXiv
    2312.09244: such members err apart more than those of one base). Pairs with a ``probability``
    below 1 are soft labels; a pair's objectives have none.
    """

    model: ModelRef
    data: list[PreferenceRef]
    objectives: list[str] = Field([], description="names, such as helpful, harmless")
    heldout: float = Field(0.2, gt=0, lt=1)
    leave_out: list[str] = []
    ood: Unseen = Unseen()
    refresh: Refresh | None = None
    members: PositiveInt = 1
    vary: Literal["seed", "fold", "base"] = "seed"
    bases: list[ModelRef] = Field([], description="what members after the first start from")
    use_margin: bool = False
    centring: NonNegativeFloat = 0.01
    likelihood: NonNegativeFloat = 0.0
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(learning_rate=3e-4, epochs=2, segments_per_step=32)

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, names: list[str]) -> list[str]:
        if len(set(names)) < len(names) or "" in names:
            raise ValueError("names must not be empty, and each may be given once")
        return names

    @model_validator(mode="after")
    def _several(self) -> Self:
        if self.vary == "fold" and self.members == 1:
            raise ValueError("members: 1 with vary: fold; folds need at least 2 members")
        if len(self.bases) != (self.members - 1 if self.vary == "base" else 0):
            raise ValueError(f"bases: {len(self.bases)} with members: {self.members} and vary: "
                             f"{self.vary}; vary: base needs one for each member after the first, "
                             "others none")  # fmt: skip
        return self


def loss(model: Any, batch: Batch, head: ScalarHead, config: Config) -> Loss:
    """Bradley–Terry on a batch of [chosen, rejected] segments in turn."""
    scores = score_segments(model, head, batch)
    if config.objectives:
        columns = scores.reshape(len(batch.lengths), -1)
        streams = [batch.per_segment[OBJECTIVE + name][0::2] for name in config.objectives]
        return bradley_terry_heads(
            columns[0::2],
            columns[1::2],
            torch.stack(streams, 1),
            config.objectives,
            use_margin=config.use_margin,
            centring=config.centring,
        )
    margin = batch.per_segment["margin"][0::2] if config.use_margin else None
    soft = batch.per_segment.get(PROBABILITY)
    return bradley_terry(
        scores[0::2],
        scores[1::2],
        margin,
        centring=config.centring,
        probability=None if soft is None else soft[0::2],
    )


@dataclass(frozen=True)
class Split:
    """Pairs to train on, held-out ones, and sets that training never sees, by name."""

    kept: list[Preference]
    heldout: list[Preference]
    sets: dict[str, list[Preference]]


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Fit the reward model, measure it on what it has not seen, and save it."""
    checked = None
    if config.refresh is not None:
        checked = refresh.check(config.refresh, inputs, context, config.train.tokens_per_batch)
    if checked is not None and checked.kept:
        return refresh.keep(checked, context)
    records = _records(config, inputs, checked)
    split = _split(config, inputs, context, records)
    about = _about(split.kept, config.objectives)
    fits = [
        _fit(config, own, context, split, number)
        for number, own in enumerate(_starts(config, inputs))
    ]
    if process.rank() > 0:  # the first process alone has the folder, and measures
        return Outcome("reward_model")
    if config.refresh is not None:
        tables.write(context.output / refresh.PAIRS, records)
    _seal(context.output, [one.levels for one in fits])
    figures, measured = _measure(config, inputs, context, split)
    details = {
        "members": config.members,
        "vary": config.vary,
        "pairs": fits[0].pairs,
        "soft_labels": sum(record.probability < 1 for record in records),
        "heldout": fits[0].heldout,
        "too_long": len(split.kept) + len(split.heldout) - fits[0].pairs - fits[0].heldout,
        "objectives": about,
        "left_out": {topic: sum(r.topic == topic for r in records) for topic in config.leave_out},
        **measured,
        "stopped": fits[0].result.stopped_reason,
        "curve": training.curve(fits[0].result, ["loss", "accuracy"]),
    }
    if checked is not None:
        details["refresh"] = checked.details()
        figures |= checked.figures()
    return Outcome("reward_model", _fit_figures(fits) | figures, details)


@dataclass(frozen=True)
class Fitted:
    """A member that was trained: the mean of each output over its training pairs, and counts."""

    result: FitResult
    levels: list[float]
    pairs: int
    heldout: int


def _fit(config: Config, inputs: Inputs, context: Context, split: Split, number: int) -> Fitted:
    """Train member ``number`` and save it into its part of the output folder."""
    if config.members > 1:
        context = replace(
            context,
            name=f"{context.name}.{number + 1}",
            seed=derived_seed(context.seed, "member", number),
            scratch=context.scratch / f"member-{number}",
            output=ensemble.member_folder(context.output, number),
        )
    loaded = training.load_policy(inputs, context, config.lora)
    units, held = (
        training.pairs(loaded, part, config.objectives)
        for part in (without_fold(config, split.kept, number), split.heldout)
    )
    torch.manual_seed(context.seed)
    width = loaded.model.config.get_text_config().hidden_size
    names = config.objectives or ("score",)
    head = ScalarHead(width, names, likelihood=config.likelihood).to(loaded.model.device)
    objective = functools.partial(loss, head=head, config=config)
    size = config.train.tokens_per_batch
    result = training.fit(
        loaded.model,
        DatasetSource(units, config.train, seed=context.seed),
        objective,
        config.train,
        context,
        evaluate=training.measured(loaded.model, held, objective, size),
        trainable=named_trainable(model=loaded.model, head=head),
    )
    levels: list[float] = (
        head_outputs(loaded.model, head, units[:LEVEL_PAIRS], size).mean(0).tolist()
    )
    facts = {"pairs": len(units), "heldout": len(held), "member": number + 1}
    training.save_policy(loaded, context, training.card("fit.reward", inputs, facts), head)
    return Fitted(result, levels, len(units), len(held))


def _starts(config: Config, inputs: Inputs) -> list[Inputs]:
    """The inputs of each member: ``model`` is what it starts from.

    Raises:
        InputError: a base predicts other tokens than ``model``.
    """
    if config.vary != "base":
        return [inputs] * config.members
    first = inputs.model("model")
    words = load_tokenizer(first).get_vocab()
    for base in inputs.models("bases"):
        if load_tokenizer(base).get_vocab() != words:
            expected = f"that of {first}"
            raise InputError(Problem(base, None, "bases", "another vocabulary", expected))
    return [Inputs({**inputs.resolved, "model": [one]}) for one in (first, *inputs.models("bases"))]


def without_fold(config: Config, records: list[Preference], number: int) -> list[Preference]:
    """The pairs of all folds but the member's own; whole groups are in one fold.

    Raises:
        InputError: nothing is left.
    """
    if config.vary != "fold":
        return records
    rest = [
        record
        for record in records
        if derived_seed("fold", record.group or record.id) % config.members != number
    ]
    if records and not rest:
        found = f"all pairs are of one group, which is fold {number + 1}"
        raise InputError(Problem("", None, "vary", found, "as many groups as members, or seed"))
    return rest


def _seal(folder: Path, levels: list[list[float]]) -> None:
    if len(levels) > 1:
        ensemble.seal(folder, levels)
    else:
        manifest.seal(folder)


def _records(config: Config, inputs: Inputs, checked: refresh.Checked | None) -> list[Preference]:
    """All pairs that may be trained on, each once where they come together for a refresh."""
    records = training.read_all(inputs.paths("data"), Preference)
    if config.refresh is not None:
        old = [] if checked is None else refresh.trained_on(checked.last)
        records = refresh.pooled(old, records, refresh.fresh_pairs(inputs))
    records = _speaking(records, config.objectives)
    soft = sum(record.probability < 1 for record in records)
    if soft and config.objectives:
        found = f"{soft} of {len(records)} pairs have a probability below 1"
        expected = "no objectives: soft labels are about the pair as a whole"
        raise InputError(Problem("", None, "objectives", found, expected))
    return records


def _split(config: Config, inputs: Inputs, context: Context, records: list[Preference]) -> Split:
    rest, sets = take_out(records, config.leave_out, config.ood)
    kept, heldout = training.split_heldout(rest, config.heldout, context.seed)
    for name in config.ood.files:
        sets[name] = training.read_all(inputs.paths(f"ood.files.{name}"), Preference)
    return Split(kept, heldout, sets)


def _measure(
    config: Config, inputs: Inputs, context: Context, split: Split
) -> tuple[dict[str, Figure], dict[str, Any]]:
    """Figures and details of what was saved: read back, so that they are those of the artifact."""
    sets = {ranking.HELDOUT: split.heldout, **split.sets}
    own = own_replies(config.ood.own, inputs, context) if config.ood.own is not None else None
    if own is not None and own.pairs:
        sets[OWN] = own.pairs
    return ranking.measure(
        RewardModel.load(context.output, context.device),
        sets,
        config.train.tokens_per_batch,
        objectives=config.objectives,
        own=own,
        seed=context.seed,
    )


def _fit_figures(fits: Sequence[Fitted]) -> dict[str, Figure]:
    """Tokens and steps of all members, and their rate."""
    each = [training.fit_figures(one.result) for one in fits]
    total = {name: sum(one[name].value for one in each) for name in ("tokens", "steps")}
    seconds = sum(one.result.seconds for one in fits)
    total["tokens_per_second"] = total["tokens"] / max(seconds, 1e-9)
    return {name: Figure.exact(value) for name, value in total.items()}


def _speaking(records: Sequence[Preference], objectives: Sequence[str]) -> list[Preference]:
    """The pairs that say something of one of the objectives; all where there are none."""
    return [
        record
        for record in records
        if not objectives or any(record.objectives.get(name) for name in objectives)
    ]


def _about(records: Sequence[Preference], objectives: Sequence[str]) -> dict[str, int]:
    """How many pairs to train on say something of each objective.

    Raises:
        InputError: of one of them none does.
    """
    counts = {name: sum(bool(r.objectives.get(name)) for r in records) for name in objectives}
    for name, count in counts.items():
        if count == 0:
            found = f"no pair to train on says anything of {name!r}"
            expected = "pairs with a number for it in their objectives"
            raise InputError(Problem("", None, "objectives", found, expected))
    return counts
