"""Distillation: a student learns what its teacher would say, token by token or in whole replies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from transformers import PreTrainedModel

from burnish.config import DocumentRef, ExampleRef, InputError, ModelRef, Problem, Settings
from burnish.engine import DatasetSource, TrainSettings
from burnish.models.adapters import LoraSettings
from burnish.models.forward import hidden, token_logprobs
from burnish.models.load import Loaded
from burnish.objectives import DivergenceKind, Loss, distilled
from burnish.records import Document, Example, Figure
from burnish.sampling import Sampling
from burnish.sampling.cache import context_length
from burnish.stages import language, teaching, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.language import target_weights
from burnish.stages.teaching import Taught
from burnish.text.batches import Batch, Segment


class Config(Settings):
    """Train the student ``model`` towards ``teacher``, a model of the same tokens, on ``data``.

    ``depth`` cuts the student from ``model`` first: so many of its layers, spread evenly. At each
    token of a reply the student is held to the teacher's whole next-token distribution, by a
    ``divergence`` at a ``temperature``; ``hard`` is the share of the reply's own tokens in the
    loss, and 1 leaves nothing else. With ``replies: teacher`` the last replies are the teacher's,
    drawn by ``sampling`` (with ``hard: 1``: sequence-level distillation, Kim and Rush 2016,
    arXiv 1606.07947). ``on_policy`` is the share of records to which the student replies itself
    at every step, by ``sampling``, for the teacher to score (Agarwal et al. 2024,
    arXiv 2306.13649). With ``top_k`` the teacher is asked once, and so many of its likeliest tokens
    are kept on disk; the others count as one. ``documents`` are read along, whole, at every token,
    in pieces of ``sequence_length``. ``heldout`` of the data, with its own replies, measures
    divergence and likelihood.
    """

    model: ModelRef
    teacher: ModelRef
    data: list[ExampleRef]
    documents: list[DocumentRef] = []
    sequence_length: PositiveInt = 256
    depth: PositiveInt | None = Field(None, description="layers kept of ``model``; all by default")
    divergence: DivergenceKind = "forward"
    beta: float = Field(0.5, gt=0, lt=1, description="teacher's share, for jensen_shannon")
    temperature: PositiveFloat = 1.0
    hard: float = Field(0.0, ge=0, le=1)
    replies: Literal["data", "teacher"] = "data"
    on_policy: float = Field(0.0, ge=0, le=1)
    sampling: Sampling = Sampling(temperature=1.0, max_new_tokens=64)
    top_k: PositiveInt | None = None
    heldout: float = Field(0.05, ge=0, lt=1)
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(epochs=3)

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.on_policy > 0 and self.hard > 0:
            raise ValueError("on_policy goes with hard: 0: what the student wrote is not to be "
                             "learnt by heart")  # fmt: skip
        if self.on_policy > 0 and self.top_k is not None:
            raise ValueError("on_policy does not go with top_k: what the student will write "
                             "cannot be asked before")  # fmt: skip
        if self.hard == 1 and self.top_k is not None:
            raise ValueError("hard: 1 leaves nothing of the teacher for top_k to keep")
        if self.depth is not None and self.lora is not None and self.lora.bits is not None:
            raise ValueError("depth does not go with lora.bits: the adapter is merged into the "
                             "whole model")  # fmt: skip
        return self


def loss(
    model: PreTrainedModel, batch: Batch, taught: Taught, hard: float, told: bool = False
) -> Loss:
    """The divergence from the teacher at each target, and the text's share.

    ``told``: the likelihood of the text is a metric even where it has no share.
    """
    states = hidden(model, batch)
    text = None
    if told or hard > 0:
        text = token_logprobs(model, batch, states=states).logprobs
    return distilled(taught(model, batch, states), target_weights(batch), text, hard=hard)


def check_contexts(student: Loaded, teacher: Loaded) -> None:
    """The teacher must be able to read whatever the student may write.

    Raises:
        InputError: its context is shorter.
    """
    own, others = (context_length(one.model) for one in (student, teacher))
    if others < own:
        found = f"a context of {others} tokens, shorter than the student's {own}"
        raise InputError(
            Problem(teacher.ref, None, "teacher", found, "on_policy: 0, or a longer one")
        )


def _taught(
    config: Config, student: Loaded, teacher: Loaded, segments: list[Segment], context: Context
) -> Taught:
    """The teacher as it is asked: along with the student, or once for all segments."""
    if config.top_k is None:
        measure = teaching.divergence(config.divergence, config.temperature, config.beta)
        return teaching.live(teacher.model, measure)
    return teaching.remembered(
        teacher.model, student.model, segments, config.top_k, config.temperature,
        teaching.divergence(config.divergence, 1.0, config.beta),
        config.train.tokens_per_batch, context.cache,
    )  # fmt: skip


def _source(
    config: Config, student: Loaded, examples: list[Example], segments: list[Segment], seed: int
) -> DatasetSource:
    """The segments; documents among them have no prompt, and no reply of the student's."""
    if config.on_policy == 0:
        return DatasetSource(segments, config.train, seed=seed)
    prompts = teaching.prompts_of(student, examples)
    return teaching.OwnReplies(
        student, segments, [prompts.get(one.id) for one in segments], config.sampling,
        config.on_policy, config.train, seed=seed,
    )  # fmt: skip


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Distil and save the student.

    Raises:
        InputError: the teacher predicts other tokens than the student, or cannot read as much.
    """
    student = training.load_policy(inputs, context, config.lora, depth=config.depth)
    student.model.eval()
    teacher = language.load_frozen(inputs, "teacher", context.device, student)
    if config.on_policy > 0:
        check_contexts(student, teacher)
    examples = training.read_all(inputs.paths("data"), Example)
    kept, heldout = training.split_heldout(examples, config.heldout, context.seed)
    asked = len(kept)
    if config.replies == "teacher":
        kept = teaching.written(teacher, kept, config.sampling, context)
    parts = [
        training.fitting(teacher, language.conversations(student, part)) for part in (kept, heldout)
    ]
    texts = training.read_all(inputs.paths("documents"), Document)
    pieces = language.documents(student, texts, config.sequence_length)
    segments = teaching.numbered([*parts[1], *parts[0], *pieces])
    held, own = segments[: len(parts[1])], segments[len(parts[1]) :]
    taught = _taught(config, student, teacher, segments, context)
    objective: Callable[[PreTrainedModel, Batch], Loss] = partial(
        loss, taught=taught, hard=config.hard
    )
    if config.hard == 1:
        objective = language.language_loss(None)
    size = config.train.tokens_per_batch
    result, before, after = training.fit_between(
        student.model,
        _source(config, student, kept, own, context.seed),
        objective,
        config.train,
        context,
        training.measured(
            student.model, held, partial(loss, taught=taught, hard=config.hard, told=True), size
        ) if held else None,
    )  # fmt: skip
    details = {
        "examples": len(parts[0]),
        "pieces": len(pieces),
        "heldout": len(held),
        "unfinished": asked - len(kept),
        "too_long": len(kept) + len(heldout) - len(parts[0]) - len(parts[1]),
        "parameters": sum(weight.numel() for weight in student.model.parameters()),
        "teacher_parameters": sum(weight.numel() for weight in teacher.model.parameters()),
        "before": before,
        "after": after,
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss", "eval_loss", "divergence", "nll"]),
    }
    figures = training.fit_figures(result)
    if held:
        figures["heldout_divergence"] = Figure.exact(after["eval_divergence"])
    training.save_policy(student, context, training.card("fit.distill", inputs, details))
    return Outcome("model", figures, details)
