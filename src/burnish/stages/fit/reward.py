"""A reward model: a scalar head on a policy, fitted to preferences (Bradley–Terry)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, field_validator
from torch import Tensor

from burnish.config import InputError, ModelRef, PreferenceRef, Problem, Settings
from burnish.engine import DatasetSource, TrainSettings, named_trainable
from burnish.evals.statistics import wilson
from burnish.models.adapters import LoraSettings
from burnish.models.heads import ScalarHead, score_segments
from burnish.objectives import Loss, bradley_terry, bradley_terry_heads
from burnish.records import Figure, Preference
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.training import OBJECTIVE, PROBABILITY
from burnish.text.batches import Batch, Segment, batches


class Config(Settings):
    """Fit a reward model on ``data``, starting from ``model``.

    Accuracy is measured on the held-out share of prompts (whole groups), and on ``leave_out``
    topics, none of whose pairs are trained on. ``use_margin`` asks for a larger score difference
    where the margin is larger; ``centring`` keeps the mean score near 0. ``likelihood`` adds the
    model's own mean log-probability of the reply to the score, see ``heads.score_segments``.
    ``objectives`` makes one head each, trained on what the pairs' own ``objectives`` say of it
    (pairs that say nothing of any are left out); the score is then the heads' weighted sum.
    Pairs with a ``probability`` below 1 are soft labels; a pair's objectives have none.
    """

    model: ModelRef
    data: list[PreferenceRef]
    objectives: list[str] = Field([], description="names, such as helpful, harmless")
    heldout: float = Field(0.2, gt=0, lt=1)
    leave_out: list[str] = []
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


@torch.no_grad()
def differences(
    model: Any, head: ScalarHead, units: Sequence[Sequence[Segment]], tokens_per_batch: int
) -> Tensor:
    """``[P, K]``: each head's score of the chosen reply minus that of the rejected one."""
    device = next(model.parameters()).device
    found = torch.zeros(len(units), len(head.names))
    for places, batch in batches(units, tokens_per_batch, device):
        scores = score_segments(model, head, batch).reshape(len(batch.lengths), -1)
        rows = torch.tensor(places[0::2]) // 2
        found[rows] = (scores[0::2] - scores[1::2]).cpu()
    return found


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Fit the reward model, measure it on what it has not seen, and save it."""
    records = _speaking(training.read_all(inputs.paths("data"), Preference), config.objectives)
    soft = sum(record.probability < 1 for record in records)
    if soft and config.objectives:
        found = f"{soft} of {len(records)} pairs have a probability below 1"
        expected = "no objectives: soft labels are about the pair as a whole"
        raise InputError(Problem("", None, "objectives", found, expected))
    left_out = [record for record in records if record.topic in config.leave_out]
    rest = [record for record in records if record.topic not in config.leave_out]
    kept, heldout = training.split_heldout(rest, config.heldout, context.seed)
    about = _about(kept, config.objectives)
    loaded = training.load_policy(inputs, context, config.lora)
    units, held, outside = (
        training.pairs(loaded, part, config.objectives) for part in (kept, heldout, left_out)
    )
    torch.manual_seed(context.seed)
    width = loaded.model.config.get_text_config().hidden_size
    names = config.objectives or ("score",)
    head = ScalarHead(width, names, likelihood=config.likelihood).to(loaded.model.device)
    objective = functools.partial(loss, head=head, config=config)
    result = training.fit(
        loaded.model,
        DatasetSource(units, config.train, seed=context.seed),
        objective,
        config.train,
        context,
        evaluate=training.measured(loaded.model, held, objective, config.train.tokens_per_batch),
        trainable=named_trainable(model=loaded.model, head=head),
    )
    figures = training.fit_figures(result)
    size = config.train.tokens_per_batch
    each = differences(loaded.model, head, held, size)
    gaps: list[float] = each.mean(1).tolist()
    figures["heldout_accuracy"] = accuracy(gaps)
    if outside:
        beyond = differences(loaded.model, head, outside, size).mean(1)
        figures["left_out_accuracy"] = accuracy(beyond.tolist())
    figures |= by_objective(config.objectives, held, each)
    details = {
        "pairs": len(units),
        "soft_labels": soft,
        "heldout": len(held),
        "too_long": len(records) - len(units) - len(held) - len(outside),
        "objectives": about,
        "left_out": {topic: sum(r.topic == topic for r in left_out) for topic in config.leave_out},
        "by_topic": _by_topic(heldout, gaps) if len(gaps) == len(heldout) else {},
        "calibration_error": calibration_error(gaps),
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss", "accuracy"]),
    }
    text = training.card("fit.reward", inputs, details)
    training.save_policy(loaded, context, text, head)
    return Outcome("reward_model", figures, details)


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


def by_objective(
    names: Sequence[str], units: Sequence[Sequence[Segment]], gaps: Tensor
) -> dict[str, Figure]:
    """Accuracy of each head on the pairs that speak of its objective, from gaps ``[P, K]``."""
    found = {}
    for k, name in enumerate(names):
        better = torch.tensor([unit[0].per_segment[OBJECTIVE + name] for unit in units])
        signed = (gaps[:, k] * better.sign())[better != 0]
        if len(signed):
            found[f"heldout_accuracy.{name}"] = accuracy(signed.tolist())
    return found


def accuracy(gaps: Sequence[float]) -> Figure:
    """The share of pairs whose chosen reply scores higher, with its Wilson interval."""
    return wilson(sum(gap > 0 for gap in gaps), len(gaps))


def calibration_error(gaps: Sequence[float], bins: int = 10) -> float:
    """Expected calibration error of ``P(chosen is better) = s(gap)`` over equal-width bins.

    Each pair is seen from the side that the model prefers: its confidence lies in [0.5, 1] and
    it is right where the gap is positive. Guo et al. 2017 (arXiv 1706.04599) eq. 3.
    """
    binned: dict[int, list[tuple[float, bool]]] = {}
    for gap in gaps:
        confidence = 1 / (1 + math.exp(-min(abs(gap), 50.0)))
        place = min(bins - 1, int((confidence - 0.5) * 2 * bins))
        binned.setdefault(place, []).append((confidence, gap > 0))
    error = 0.0
    for pairs in binned.values():
        error += abs(sum(c for c, _ in pairs) - sum(right for _, right in pairs))
    return error / max(1, len(gaps))


def _by_topic(records: Sequence[Preference], gaps: Sequence[float]) -> dict[str, list[float]]:
    """Accuracy and number of held-out pairs by topic."""
    topics: dict[str, list[float]] = {}
    for record, gap in zip(records, gaps, strict=True):
        topics.setdefault(record.topic, []).append(float(gap > 0))
    return {topic: [sum(v) / len(v), len(v)] for topic, v in sorted(topics.items())}
