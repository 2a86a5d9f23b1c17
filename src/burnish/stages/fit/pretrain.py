"""Continued pre-training on a domain, mixed with general text, watched for forgetting."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, PositiveFloat, PositiveInt

from burnish.config import DocumentRef, ExampleRef, ModelRef, Settings
from burnish.engine import ReplaySource, TrainSettings
from burnish.models.adapters import LoraSettings
from burnish.models.load import Loaded
from burnish.records import Document, Example, Figure
from burnish.selection.mix import MixReport, left_over, mix_documents
from burnish.stages import forgetting, language, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.forgetting import Guard, Watch
from burnish.stages.language import ANCHOR, SMOOTHING
from burnish.text.batches import Segment


class Config(Settings):
    """Train ``model`` on ``domain`` documents with ``ratio`` general tokens to each domain token.

    ``examples`` put part of the domain in instruction form too, as often as the documents: a
    model that meets some facts both told and asked learns to find the others when asked
    (Allen-Zhu and Li 2023, arXiv 2309.14316). ``general_weight`` weighs the general tokens' loss.
    The seed's 1 : 5 is ``ratio: 5``. ``heldout`` is general text for the guard and the figures;
    ``domain_heldout`` is the share of domain documents kept aside to measure what was learnt.

    ``train`` warms the learning rate of a model that was annealed up again and lets it decay
    again: linearly to ``learning_rate`` in ``warmup`` of the steps, by a cosine to ``min_lr`` of it
    at the end. The defaults, 1 % and a tenth, are those of Ibrahim et al. 2024 (arXiv 2403.08763),
    who with 5 % of replay for a near and 25 % for a far domain keep what a model trained anew on
    everything has.
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
    train: TrainSettings = TrainSettings(learning_rate=1e-3, tokens_per_step=4096, warmup=0.01)

    @property
    def divides(self) -> bool:
        """Whether several processes do without anyone holding the whole model."""
        # The guard's tasks are answered by the whole one.
        return training.divisible(self.lora) and not self.guard.tasks


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Mix, train under the guard, measure domain and general perplexity before and after."""
    loaded = training.load_policy(inputs, context, config.lora, divide=config.divides)
    domain = training.drawn(inputs.paths("domain"), Document, config.limit, context.seed)
    domain, domain_heldout = training.split_heldout(domain, config.domain_heldout, context.seed)
    heldout = training.read_all(inputs.paths("heldout"), Document)
    size = config.train.tokens_per_batch
    general = forgetting.measure_of(
        loaded, heldout, forgetting.load_tasks(config.guard, inputs), size, context.seed
    )

    def measured() -> dict[str, Figure]:
        found = general() if general else {}
        if domain_heldout:
            found["domain_ppl"] = forgetting.perplexity_of(loaded, domain_heldout, size)
        return found

    source, report = _source(loaded, domain, config, inputs, context)
    before = measured()
    kept = {name: figure for name, figure in before.items() if name != "domain_ppl"}
    share = source.share()
    ratio = share / (1 - share) if share < 1 else math.inf
    forgetting.check(config.guard, kept, ratio, source.spare)
    watch = Watch(config.guard, {name: figure.value for name, figure in kept.items()}, ratio)
    every = max(1, -(-source.steps // config.guard.checks))
    result = training.fit(
        loaded.model,
        source,
        language.language_loss(
            language.load_anchor(inputs, context.device, loaded), config.label_smoothing
        ),
        config.train.model_copy(update={"eval_every": every}),
        context,
        evaluate=(lambda: {n: f.value for n, f in general().items()}) if general else None,
        on_step=watch if general else None,
    )
    figures = training.fit_figures(result)
    for name, after in measured().items():
        figures[f"{name}_before"], figures[f"{name}_after"] = before[name], after
    details = {
        "domain_tokens": report.domain_tokens,
        "general_tokens": report.general_tokens,
        "ratio": report.ratio,
        "guard": {
            "bound": config.guard.bound,
            "tasks": watch.limits(),
            "readings": watch.readings(result.history, source.steps),
            "domain_tokens_left_out": source.left_out,
        },
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss"]),
    }
    training.save_policy(loaded, context, training.card("fit.pretrain", inputs, details))
    return Outcome("model", figures, details)


def _source(
    loaded: Loaded, domain: list[Document], config: Config, inputs: Inputs, context: Context
) -> tuple[ReplaySource, MixReport]:
    """The mix as windows, and what it holds; ready to take in more general text where the guard
    may ask for it."""
    general = training.read_all(inputs.paths("general"), Document)
    sizes = _sizes(loaded, [*domain, *general])
    mixed, report = mix_documents(
        domain * config.passes,
        general,
        config.ratio,
        lambda d: sizes[d.id],
        context.seed,
        config.repeats,
    )
    told, length = {document.id for document in domain}, config.sequence_length
    replay = [document for document in mixed if document.id not in told]
    facts = language.documents(loaded, [d for d in mixed if d.id in told], length)
    asked = language.conversations(loaded, training.read_all(inputs.paths("examples"), Example))
    kept = language.documents(loaded, replay, length, config.general_weight, general=True)
    spare: list[Segment] = []
    if config.guard.action == "raise_replay":
        others = [document for document in general if document.id not in told]
        more = left_over(others, replay, config.repeats, context.seed)
        spare = language.documents(loaded, more, length, config.general_weight, general=True)
    segments = [*facts, *kept, *asked * config.passes]
    marks = [segment.per_segment["general"] > 0 for segment in segments]
    return ReplaySource(
        segments, config.train, seed=context.seed, general=marks, spare=spare
    ), report


def _sizes(loaded: Loaded, documents: Sequence[Document]) -> dict[str, int]:
    """Tokens of each document, by id."""
    ids = loaded.tokenizer([document.text for document in documents], verbose=False)["input_ids"]
    return {document.id: len(tokens) for document, tokens in zip(documents, ids, strict=True)}
