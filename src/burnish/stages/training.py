"""What the fit stages share: reading records into segments, held-out losses, saving."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

from burnish.config import InputError, Problem
from burnish.engine import (
    Action,
    FitResult,
    LossFunction,
    Source,
    StepInfo,
    TrainSettings,
    train,
)
from burnish.engine.optim import Trainable
from burnish.engine.window import accumulate
from burnish.models import adapters
from burnish.models.adapters import LoraSettings
from burnish.models.depth import keep_layers
from burnish.models.heads import ScalarHead
from burnish.models.load import Loaded, load_model, save_model
from burnish.models.quantised import is_quantised
from burnish.records import Figure, Message, Preference, Record
from burnish.sampling.cache import context_length
from burnish.stages.base import Context, Inputs, derived_seed
from burnish.store import tables
from burnish.text.batches import Batch, Segment, Unit, batches
from burnish.text.templates import encode_many

R = TypeVar("R", bound=Record)


def read_all(paths: Sequence[Path], kind: type[R]) -> list[R]:
    """The records of several files, in order."""
    return [record for path in paths for record in tables.read(path, kind)]


def drawn(paths: Sequence[Path], kind: type[R], limit: int | None, seed: int) -> list[R]:
    """All records of the files, or a random ``limit`` of them, in a shuffled order."""
    records = read_all(paths, kind)
    random.Random(seed).shuffle(records)
    return records[:limit]


def load_policy(
    inputs: Inputs,
    context: Context,
    lora: LoraSettings | None,
    template: str | None = None,
    divide: bool = False,
    depth: int | None = None,
) -> Loaded:
    """The stage's ``model``, with a fresh adapter where one is asked for.

    With ``divide`` no process holds it whole, where there are several (``models.divided``).

    What is drawn here (the adapter, embeddings of a template's tokens) is set by the stage's seed.
    ``depth``: how many of its layers are kept.

    Raises:
        InputError: as ``load_model``, and where the folder holds quantised weights.
    """
    torch.manual_seed(context.seed)
    ref, bits = inputs.model("model"), lora.bits if lora else None
    loaded = load_model(ref, context.device, template=template, bits=bits, divide=divide)
    if is_quantised(loaded.model) and bits is None:
        expected = "the model before that; lora.bits rounds its weights for the fit"
        raise InputError(Problem(ref, None, "model", "its weights are quantised", expected))
    if depth is not None:
        keep_layers(loaded.model, depth)
    if lora is not None:
        adapters.attach(loaded.model, lora)
    return loaded


def divisible(lora: LoraSettings | None) -> bool:
    """Whether an adapter goes with a divided model: DoRA needs the norms of whole weights, and bits
    cannot be divided."""
    return lora is None or not (lora.dora or lora.bits)


def save_policy(
    loaded: Loaded, context: Context, card: str, head: ScalarHead | None = None
) -> None:
    """Write the trained model, adapter merged in, as a Hugging Face folder.

    An adapter over quantised weights is merged into those of the model it was loaded from, read
    again in the precision that the fit computed in.
    """
    model = loaded.model
    if is_quantised(model):
        base = load_model(loaded.ref, device="cpu", dtype=model.dtype).model
        model = adapters.merged_into(base, model)
    save_model(model, loaded.tokenizer, context.output, card, head)


def split_heldout(records: Sequence[R], share: float, seed: int) -> tuple[list[R], list[R]]:
    """Train and held-out records; whole groups (entities, prompts) go to one side."""
    train: list[R] = []
    heldout: list[R] = []
    for record in records:
        group = getattr(record, "group", "") or record.id
        chance = derived_seed("heldout", seed, group) / 2**31
        (heldout if chance < share else train).append(record)
    return train, heldout


OBJECTIVE = "objective."
PROBABILITY = "probability"


def pairs(
    loaded: Loaded, preferences: Sequence[Preference], objectives: Sequence[str] = ()
) -> list[list[Segment]]:
    """Preferences as [chosen, rejected] segments with a per-segment ``margin``, ``probability``
    (a soft label, 1 for an ordinary pair), and one stream ``objective.NAME`` for each of
    ``objectives``, 0 where a preference says nothing of it.

    Raises:
        InputError: every pair is longer than the model's context.
    """
    return twofold(
        loaded,
        [(p.id, p.prompt, p.chosen, p.rejected) for p in preferences],
        [
            {"margin": p.margin, PROBABILITY: p.probability}
            | {OBJECTIVE + n: p.objectives.get(n, 0.0) for n in objectives}
            for p in preferences
        ],
    )


def twofold(
    loaded: Loaded,
    rows: Sequence[tuple[str, list[Message], list[Message], list[Message]]],
    streams: Sequence[Mapping[str, float]],
) -> list[list[Segment]]:
    """Two replies to each prompt as segments in turn, both with the row's per-segment streams.

    Args:
        rows: id, prompt, first and second reply. Rows over the model's context are left out.

    Raises:
        InputError: every row is longer than the model's context.
    """
    firsts = [len(prompt) for _, prompt, _, _ in rows]
    sides = [
        encode_many(loaded.tokenizer, [[*row[1], *row[side]] for row in rows], firsts)
        for side in (2, 3)
    ]
    limit = context_length(loaded.model)
    units = [
        [Segment(one.tokens, one.mask, row[0], per_segment=own) for one in both]
        for row, own, *both in zip(rows, streams, *sides, strict=True)
        if max(len(one.tokens) for one in both) <= limit
    ]
    if rows and not units:
        raise InputError(Problem("", None, "data", f"every pair is over {limit} tokens"))
    return units


def fitting(loaded: Loaded, segments: Sequence[Segment]) -> list[Segment]:
    """The segments that fit the model's context.

    Raises:
        InputError: none of them does.
    """
    limit = context_length(loaded.model)
    kept = [segment for segment in segments if len(segment.tokens) <= limit]
    if segments and not kept:
        shortest = min(len(segment.tokens) for segment in segments)
        found = f"every record is over {limit} tokens, the shortest has {shortest}"
        raise InputError(Problem("", None, "data", found, "records that fit the model's context"))
    return kept


def fit(
    model: PreTrainedModel,
    source: Source,
    loss: LossFunction,
    settings: TrainSettings,
    context: Context,
    *,
    evaluate: Callable[[], Mapping[str, float]] | None = None,
    on_step: Callable[[StepInfo], Action | None] | None = None,
    trainable: Trainable | None = None,
) -> FitResult:
    """``engine.train`` as a stage: the run's seed, step checkpoints, metrics and progress bar."""
    return train(
        model,
        source,
        loss,
        settings,
        seed=context.seed,
        scratch=context.scratch,
        metrics=context.metrics,
        progress=context.progress,
        label=context.name,
        tags={"stage": context.name, "round": context.round},
        evaluate=evaluate,
        on_step=on_step,
        trainable=trainable,
    )


def fit_between(
    model: PreTrainedModel,
    source: Source,
    loss: LossFunction,
    settings: TrainSettings,
    context: Context,
    evaluate: Callable[[], Mapping[str, float]] | None,
) -> tuple[FitResult, Mapping[str, float], Mapping[str, float]]:
    """``fit``, and what ``evaluate`` finds before and after it; nothing where there is none."""
    before = evaluate() if evaluate else {}
    result = fit(model, source, loss, settings, context, evaluate=evaluate)
    return result, before, evaluate() if evaluate else {}


def measured(
    model: Any,
    units: Sequence[Unit],
    loss: LossFunction,
    tokens_per_batch: int,
    prepare: Callable[[list[Batch]], list[Batch]] = list,
) -> Callable[[], Mapping[str, float]]:
    """A function that gives the mean held-out ``loss`` and the loss's metrics over ``units``.

    ``prepare`` is given all batches each time, for a loss that needs more than they hold.
    """
    held = [batch for _, batch in batches(units, tokens_per_batch)]

    @torch.no_grad()
    def evaluate() -> Mapping[str, float]:
        device = next(model.parameters()).device
        sums = accumulate(model, loss, prepare([batch.to(device) for batch in held]))
        metrics = {f"eval_{name}": value for name, value in sums.metrics.items()}
        return {"loss": sums.loss, **metrics}

    return evaluate


def curve(result: FitResult, names: Sequence[str], points: int = 60) -> dict[str, list[float]]:
    """A fit's history thinned to at most ``points`` steps, for the record of the artifact."""
    rows = result.history
    kept = rows[:: max(1, -(-len(rows) // points))]
    return {name: [row[name] for row in kept if name in row] for name in ("step", *names)}


def card(stage: str, inputs: Inputs, facts: Mapping[str, object]) -> str:
    """The body of a model card: what the fit was given and what it did."""
    lines = [f"Made by burnish's `{stage}`.", "", "| what | value |", "| --- | --- |"]
    shown = {
        name: ", ".join(Path(i).name for i in items) for name, items in inputs.resolved.items()
    }
    lines += [f"| {name} | {value} |" for name, value in {**shown, **facts}.items()]
    return "\n".join(lines)


def fit_figures(result: FitResult) -> dict[str, Figure]:
    """Tokens, steps and tokens per second of a fit."""
    rate = result.tokens / max(result.seconds, 1e-9)
    exact = {"tokens": result.tokens, "steps": result.steps, "tokens_per_second": rate}
    return {name: Figure.exact(float(value)) for name, value in exact.items()}
