"""Put dense models of one ancestor together as a mixture of experts."""

from __future__ import annotations

from pydantic import model_validator

from burnish.config import DataRef, DocumentRef, InputError, ModelRef, Problem, Settings
from burnish.merging.experts import Experts, Gates, assemble, open_experts
from burnish.merging.gates import hidden_gates, random_gates
from burnish.merging.settings import ExpertSettings
from burnish.models.load import load_model
from burnish.records import Document, Figure
from burnish.stages import language, training
from burnish.stages.base import Context, Inputs, Outcome

LENGTH = 256
"""Tokens of a piece of a text that a router is begun with."""


class Config(Settings):
    """Make ``parents``, and ``adapters`` (LoRA folders of PEFT, each over ``model``) behind them,
    the experts of one model; ``model`` is what they were trained from.

    ``prompts`` has a file of documents for each expert in turn: the kind of text it is meant for.
    The router begins with them where ``experts.gate`` is ``hidden``. It is to be trained:
    ``fit.router``.
    """

    model: ModelRef = "@base"
    parents: list[ModelRef] = []
    adapters: list[DataRef] = []
    prompts: list[DocumentRef] = []
    experts: ExpertSettings = ExpertSettings()

    @model_validator(mode="after")
    def _whole(self) -> Config:
        count = len(self.parents) + len(self.adapters)
        hidden = self.experts.gate == "hidden"
        if len(self.prompts) != (count if hidden else 0):
            expected = f"{count}, one for each expert" if hidden else "none"
            raise ValueError(
                f"prompts: found {len(self.prompts)} files, expected {expected}, "
                f"with the gate {self.experts.gate!r}"
            )
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Check that the models fit, begin the router, and write the mixture."""
    refs = [str(path) for path in (*inputs.paths("parents"), *inputs.paths("adapters"))]
    experts = open_experts(refs, inputs.model("model"), config.experts)
    gates = _gates(config, experts, inputs, context)
    facts = {
        "experts": experts.count,
        "architecture": experts.layout.kind,
        "settings": config.experts.model_dump(mode="json"),
    }
    with context.progress.task(context.name, None) as bar:
        assemble(
            experts, gates, config.experts, context.output,
            card=training.card("fit.experts", inputs, facts), advance=bar.advance,
        )  # fmt: skip
    return Outcome("model", {"experts": Figure.exact(float(experts.count))}, facts)


def _gates(config: Config, experts: Experts, inputs: Inputs, context: Context) -> Gates:
    dense = experts.config
    if config.experts.gate != "hidden":
        deviation = dense.initializer_range if config.experts.gate == "random" else 0.0
        shape = dense.num_hidden_layers, experts.count, dense.hidden_size
        return random_gates(*shape, deviation, context.seed)
    loaded = load_model(inputs.model("model"), device=context.device)
    texts = []
    for path in inputs.paths("prompts"):
        texts.append(language.documents(loaded, training.read_all([path], Document), LENGTH))
        if not texts[-1]:
            raise InputError(Problem(str(path), None, "prompts", "no text", "a document at least"))
    return hidden_gates(loaded.model, texts)
