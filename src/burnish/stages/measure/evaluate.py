"""Measure a model: task sets, tasks of lm-eval, perplexity of general text, and what it costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from burnish.config import DocumentRef, ModelRef, SamplerRef, Settings
from burnish.evals import efficiency, harness, refusals, savings, tasks
from burnish.evals.compare import HARNESS_VALUES, RESPONSES, write_general
from burnish.evals.efficiency import EfficiencySettings
from burnish.evals.harness import HarnessSettings
from burnish.evals.perplexity import document_losses, perplexity, perplexity_ratio
from burnish.evals.tasks import TaskSettings
from burnish.models.load import Loaded, load_model
from burnish.records import Document, Figure
from burnish.sampling import Sampling
from burnish.sampling.generate import BATCH_ROWS
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.replying import journal_of, journalled, weigher
from burnish.store import atomic


class Config(Settings):
    """Ask ``model`` every item of ``tasks``; greedy unless ``sampling`` says otherwise.

    With ``heldout`` documents the general perplexity is measured too, and with ``base`` its
    ratio to that model's (both read the same tokens); with ``harness`` tasks of lm-eval, with
    ``efficiency`` speed, latency, memory and size; with a model in ``efficiency.beside`` both are
    timed by turns too, for a gate. A served ``model`` has none of these here.
    Raw replies are kept in the folder ``replies``, by model, conversation and sampling: other tasks
    and verifiers ask for no reply that is there. Left empty, it is one in the run, and none for a
    served model, since nobody knows what is behind an address.
    """

    model: SamplerRef
    tasks: list[TaskSettings] = []
    heldout: DocumentRef | None = None
    base: ModelRef | None = None
    harness: HarnessSettings | None = None
    efficiency: EfficiencySettings | None = None
    sampling: Sampling = Sampling(temperature=0.0, max_new_tokens=32)
    replies: str | None = None


def needs_weights(config: Config) -> dict[str, str]:
    """What needs log-probabilities of given tokens, or the model's own speed."""
    needs = {"heldout": "it is for perplexity", "harness": "it scores given options",
             "efficiency": "it times the model in this process"}  # fmt: skip
    return {name: why for name, why in needs.items() if getattr(config, name) is not None}


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write every raw response, and figures that can be computed from them again."""
    ref = inputs.model("model")
    journal = journal_of(ref, context, config.replies)
    model = journalled(ref, journal, context.endpoint, context.device, BATCH_ROWS)
    sets = [
        tasks.load_task(task, *inputs.paths(f"tasks.{index}.data"))
        for index, task in enumerate(config.tasks)
    ]
    with context.progress.task(context.name, None) as bar:
        responses = tasks.answer(
            model.sampler, sets, config.sampling, context.seed, bar.advance, weigher(model, journal)
        )
    tasks.write(context.output / RESPONSES, responses)
    figures = tasks.figures(responses)
    details: dict[str, Any] = {
        "model": model.name,
        "dimensions": {task.name: task.dimension for task in config.tasks},
        "upward": {task.name: task.upward for task in config.tasks},
        "refusals": refusals.sides(config.tasks),
        "by_language": _flat(tasks.breakdown(responses, "lang")),
        "by_source": _flat(tasks.breakdown(responses, "source")),
        "by_option_score": _flat(tasks.by_option_score(responses)),
        **model.details,
    }
    if model.loaded is not None:
        figures |= _general(inputs, context, model.loaded)
        figures |= _harness(config, inputs, context, model.loaded, details)
        figures |= _efficiency(config, inputs, context, model.loaded, details)
    return Outcome("report", figures, details)


def _harness(
    config: Config, inputs: Inputs, context: Context, loaded: Loaded, details: dict[str, Any]
) -> dict[str, Figure]:
    if config.harness is None:
        return {}
    folder = next(iter(inputs.paths("harness.folder")), None)
    found = harness.measure(config.harness, loaded, folder, context.seed)
    atomic.write_text(context.output / HARNESS_VALUES, json.dumps(found.values))
    details["harness"] = found.versions
    details["upward"] |= found.upward
    details["dimensions"] |= dict.fromkeys(found.figures, "capability")
    return found.figures


def _efficiency(
    config: Config, inputs: Inputs, context: Context, loaded: Loaded, details: dict[str, Any]
) -> dict[str, Figure]:
    if config.efficiency is None:
        return {}
    details["efficiency"] = efficiency.where(loaded)
    details["upward"] |= efficiency.UPWARD
    details["dimensions"] |= dict.fromkeys(efficiency.UPWARD, "efficiency")
    figures = efficiency.measure(loaded, config.efficiency)
    if ref := inputs.optional_model("efficiency.beside"):
        other = load_model(ref, device=context.device)
        before, after = efficiency.by_turns(other, loaded, config.efficiency)
        found = {"beside": Path(ref).name, "before": before, "after": after}
        atomic.write_json(context.output / savings.FILE, found)
    return figures


def _general(inputs: Inputs, context: Context, loaded: Loaded) -> dict[str, Figure]:
    """General perplexity and its ratio to the base model's; the losses are kept for the gate."""
    documents = training.read_all(inputs.paths("heldout"), Document)
    if not documents:
        return {}
    losses = document_losses(loaded.model, loaded.tokenizer, documents)
    write_general(context.output, losses)
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
