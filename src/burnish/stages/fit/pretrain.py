"""Continued pre-training on a domain, mixed with general text, watched for forgetting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import DocumentRef, ExampleRef, ModelRef, Settings
from burnish.engine import (
    Action,
    DatasetSource,
    FitResult,
    StepInfo,
    TrainSettings,
)
from burnish.evals.perplexity import document_losses, perplexity
from burnish.models.adapters import LoraSettings
from burnish.models.load import Loaded
from burnish.records import Document, Example, Figure
from burnish.selection.mix import mix_documents
from burnish.stages import language, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.language import ANCHOR, SMOOTHING


class Guard(Settings):
    """The forgetting guard: general perplexity, as a ratio to its start, at ``checks`` points.

    Past ``bound`` it acts: ``stop`` ends the fit there, ``rollback`` goes back to the last point
    within the bound and ends, ``watch`` only records. A warm-up from an annealed model raises
    perplexity for a while as it is (Ibrahim et al. 2024, arXiv 2403.08763), so in the first
    ``grace`` share of the steps only a ratio past the bound's square counts.
    """

    bound: float = Field(1.3, gt=1)
    checks: PositiveInt = 6
    grace: float = Field(0.5, ge=0, lt=1)
    action: Literal["stop", "rollback", "watch"] = "rollback"


class Config(Settings):
    """Train ``model`` on ``domain`` documents with ``ratio`` general tokens to each domain token.

    ``examples`` put part of the domain in instruction form too, as often as the documents: a
    model that meets some facts both told and asked learns to find the others when asked
    (Allen-Zhu and Li 2023, arXiv 2309.14316). ``general_weight`` weighs the general tokens' loss.
    The seed's 1 : 5 is ``ratio: 5``. ``heldout`` is general text for the guard and the figures;
    ``domain_heldout`` is the share of domain documents kept aside to measure what was learnt.
    """

    model: ModelRef
    domain: list[DocumentRef]
    limit: PositiveInt | None = Field(None, description="documents drawn from ``domain``")
    general: list[DocumentRef] = []
    anchor: ModelRef | None = Field(None, description=ANCHOR)
    examples: list[ExampleRef] = []
    heldout: DocumentRef | None = None
    ratio: float = Field(5.0, ge=0)
    passes: PositiveInt = Field(1, description="how often each domain document is seen")
    repeats: PositiveInt = Field(1, description="passes over the general text at most")
    domain_heldout: float = Field(0.02, ge=0, lt=1)
    general_weight: PositiveFloat = 1.0
    label_smoothing: float = Field(0.0, ge=0, lt=1, description=SMOOTHING)
    sequence_length: PositiveInt = 256
    guard: Guard = Guard()
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(learning_rate=1e-3, tokens_per_step=4096)


@dataclass(frozen=True)
class Watch:
    """Tells the engine what to do from the general perplexity that it measures as it goes.

    It keeps no state, so that a resumed fit acts as an unbroken one.
    """

    start: float
    settings: Guard

    def __call__(self, info: StepInfo) -> Action | None:
        """Called after each step; only those with a measurement have an action."""
        if "general_ppl" not in info.metrics:
            return None
        return self.action(info.metrics["general_ppl"], info.step / info.steps)

    def action(self, ppl: float, share: float) -> Action | None:
        """What to do about a perplexity after this share of the steps."""
        ratio, bound = ppl / self.start, self.settings.bound
        if ratio <= bound or self.settings.action == "watch":
            return "mark"
        early = share <= self.settings.grace and ratio <= bound**2
        return None if early else self.settings.action

    def readings(self, result: FitResult, steps: int) -> list[dict[str, Any]]:
        """Every measurement of a fit: step, ratio to the start, and what was done."""
        rows = [(row["step"], row["general_ppl"]) for row in result.history if "general_ppl" in row]
        return [
            {
                "step": int(step),
                "ratio": ppl / self.start,
                "action": self.action(ppl, step / steps),
            }
            for step, ppl in rows
        ]


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Mix, train under the guard, measure domain and general perplexity before and after."""
    loaded = training.load_policy(inputs, context, config.lora)
    domain = training.drawn(inputs.paths("domain"), Document, config.limit, context.seed)
    domain, domain_heldout = training.split_heldout(domain, config.domain_heldout, context.seed)
    general = training.read_all(inputs.paths("general"), Document)
    heldout = training.read_all(inputs.paths("heldout"), Document)
    sizes = _sizes(loaded, [*domain, *general])
    mixed, report = mix_documents(
        domain * config.passes,
        general,
        config.ratio,
        lambda d: sizes[d.id],
        context.seed,
        config.repeats,
    )
    measures = {
        name: _measure(loaded, part, config)
        for name, part in (("general", heldout), ("domain", domain_heldout))
        if part
    }
    before = {name: measure() for name, measure in measures.items()}
    watch = Watch(before["general"].value, config.guard) if heldout else None
    examples = training.read_all(inputs.paths("examples"), Example)
    told, length = {document.id for document in domain}, config.sequence_length
    replay = [document for document in mixed if document.id not in told]
    segments = language.documents(loaded, [d for d in mixed if d.id in told], length)
    segments += language.documents(loaded, replay, length, config.general_weight, general=True)
    segments += language.conversations(loaded, examples) * config.passes
    source = DatasetSource(segments, config.train, seed=context.seed)
    every = max(1, -(-source.steps // config.guard.checks))
    result = training.fit(
        loaded.model,
        source,
        language.language_loss(
            language.load_anchor(inputs, context.device, loaded), config.label_smoothing
        ),
        config.train.model_copy(update={"eval_every": every}),
        context,
        evaluate=(lambda: {"general_ppl": measures["general"]().value}) if heldout else None,
        on_step=watch,
    )
    figures = training.fit_figures(result)
    for name, measure in measures.items():
        after = measure()
        figures[f"{name}_ppl_before"], figures[f"{name}_ppl_after"] = before[name], after
    details = {
        "domain_tokens": report.domain_tokens,
        "general_tokens": report.general_tokens,
        "ratio": report.ratio,
        "guard": {
            "bound": config.guard.bound,
            "readings": watch.readings(result, source.steps) if watch else [],
        },
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss"]),
    }
    training.save_policy(loaded, context, training.card("fit.pretrain", inputs, details))
    return Outcome("model", figures, details)


def _measure(loaded: Loaded, heldout: Sequence[Document], config: Config) -> Callable[[], Figure]:
    def measure() -> Figure:
        size = config.train.tokens_per_batch
        return perplexity(document_losses(loaded.model, loaded.tokenizer, heldout, size))

    return measure


def _sizes(loaded: Loaded, documents: Sequence[Document]) -> dict[str, int]:
    """Tokens of each document, by id."""
    ids = loaded.tokenizer([document.text for document in documents], verbose=False)["input_ids"]
    return {document.id: len(tokens) for document, tokens in zip(documents, ids, strict=True)}
