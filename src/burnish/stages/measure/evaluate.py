"""Measure a model on generated behaviour: task sets, and perplexity of general text."""

from __future__ import annotations

import json
from functools import partial

from burnish.config import DocumentRef, ModelRef, SamplerRef, Settings
from burnish.evals import choices, refusals, tasks
from burnish.evals.compare import GENERAL_LOSSES, RESPONSES
from burnish.evals.perplexity import document_losses, perplexity, perplexity_ratio
from burnish.evals.tasks import TaskSettings
from burnish.models.load import Loaded, load_model
from burnish.records import Document, Figure
from burnish.sampling import Sampling
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.replying import replying
from burnish.store import atomic


class Config(Settings):
    """Ask ``model`` every item of ``tasks``; greedy unless ``sampling`` says otherwise.

    With ``heldout`` documents the general perplexity is measured too, and with ``base`` its
    ratio to that model's (both read the same tokens). A served ``model`` has no perplexity here.
    """

    model: SamplerRef
    tasks: list[TaskSettings]
    heldout: DocumentRef | None = None
    base: ModelRef | None = None
    sampling: Sampling = Sampling(temperature=0.0, max_new_tokens=32)


def needs_weights(config: Config) -> dict[str, str]:
    """Perplexity needs log-probabilities of given tokens."""
    return {"heldout": "it is for perplexity"} if config.heldout is not None else {}


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write every raw response, and figures that can be computed from them again."""
    model = replying(inputs.model("model"), context)
    sets = [
        tasks.load_task(task, *inputs.paths(f"tasks.{index}.data"))
        for index, task in enumerate(config.tasks)
    ]
    with context.progress.task(context.name, None) as bar:
        loaded = model.loaded
        weigh = partial(choices.measure, loaded.model, loaded.tokenizer) if loaded else None
        responses = tasks.answer(
            model.sampler, sets, config.sampling, context.seed, bar.advance, weigh
        )
    tasks.write(context.output / RESPONSES, responses)
    figures = tasks.figures(responses)
    if model.loaded is not None:
        figures |= _general(inputs, context, model.loaded)
    details = {
        "model": model.name,
        "dimensions": {task.name: task.dimension for task in config.tasks},
        "upward": {task.name: task.upward for task in config.tasks},
        "refusals": refusals.sides(config.tasks),
        "by_language": _flat(tasks.breakdown(responses, "lang")),
        "by_source": _flat(tasks.breakdown(responses, "source")),
        "by_option_score": _flat(tasks.by_option_score(responses)),
        **model.details,
    }
    return Outcome("report", figures, details)


def _general(inputs: Inputs, context: Context, loaded: Loaded) -> dict[str, Figure]:
    """General perplexity and its ratio to the base model's; the losses are kept for the gate."""
    documents = training.read_all(inputs.paths("heldout"), Document)
    if not documents:
        return {}
    losses = document_losses(loaded.model, loaded.tokenizer, documents)
    values = {str(index): -nats for index, nats in enumerate(losses.per_token)}
    atomic.write_text(context.output / GENERAL_LOSSES, json.dumps(values))
    figures = {"general_ppl": perplexity(losses)}
    if base := inputs.optional_model("base"):
        other = load_model(base, device=context.device)
        before = document_losses(other.model, other.tokenizer, documents)
        figures["general_ppl_ratio"] = perplexity_ratio(losses, before)
    return figures


def _flat(parts: dict[str, dict[str, Figure]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        part: {
            name: {"value": f.value, "low": f.low, "high": f.high, "n": f.n}
            for name, f in figures.items()
        }
        for part, figures in parts.items()
    }
