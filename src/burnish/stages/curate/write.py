"""Instructions that a writer model makes from topics, prompts, examples or documents."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Literal, Self

from pydantic import Field, model_validator

from burnish.config import (
    DataRef,
    DocumentRef,
    EvaluationRef,
    ExampleRef,
    PromptRef,
    SamplerRef,
    Settings,
)
from burnish.evals.statistics import wilson
from burnish.records import Document, Example, Language, Prompt
from burnish.sampling.journal import JOURNAL
from burnish.selection import instructions
from burnish.selection.writing import METHODS, WriteSettings, write
from burnish.stages import training, writing
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.replying import journalled
from burnish.store import atomic, tables
from burnish.store.names import REPORT

MethodName = Literal[
    "templates", "self_instruct", "evolve", "grounded", "back_translation",
    "paraphrase", "language", "distractors",
]  # fmt: skip


class Config(Settings):
    """Have ``model`` write ``write.count`` records by ``method``.

    ``templates`` starts from ``topics`` files, ``self_instruct``, ``evolve`` and ``language`` from
    ``prompts`` (or the prompts of ``examples``), ``paraphrase`` and ``distractors`` from either,
    ``grounded`` from ``documents``, ``back_translation`` from ``documents`` or ``examples``, whose
    texts become the replies. ``adapt_to`` and ``least_share``: as in ``curate.generate``, by the
    topics of what it starts from.
    """

    model: SamplerRef
    method: MethodName
    topics: list[DataRef] = []
    prompts: list[PromptRef] = []
    examples: list[ExampleRef] = []
    documents: list[DocumentRef] = []
    langs: list[Language] = Field(["en", "zh"], min_length=1)
    write: WriteSettings = WriteSettings()
    adapt_to: EvaluationRef | None = None
    least_share: float = Field(writing.LEAST_SHARE, ge=0, le=1)

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        reads = METHODS[self.method].reads
        kinds = (*reads, "examples") if "prompts" in reads else reads
        if not any(getattr(self, kind) for kind in kinds):
            raise ValueError(f"{self.method} starts from {' or '.join(dict.fromkeys(kinds))}")
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``prompts.jsonl`` or ``examples.jsonl``, and ``report.json``."""
    sources = writing.Sources(
        [instructions.load(path) for path in inputs.paths("topics")],
        training.read_all(inputs.paths("prompts"), Prompt),
        training.read_all(inputs.paths("examples"), Example),
        training.read_all(inputs.paths("documents"), Document),
    )
    origins = writing.origins(config.method, sources, config.langs)
    planned = writing.shares(
        origins, inputs.paths("adapt_to"), config.write.count, config.least_share
    )
    model = journalled(
        inputs.model("model"),
        context.scratch / JOURNAL,
        context.endpoint,
        context.device,
        max_requests=config.write.budget,
    )
    with context.progress.task(context.name, config.write.count) as bar:
        records, report = write(
            config.method,
            origins,
            {share.topic: share.count for share in planned},
            model.sampler,
            config.write,
            context.seed,
            fits=model.fits,
            told=writing.telling(bar),
        )
    for kind, name in ((Prompt, "prompts.jsonl"), (Example, "examples.jsonl")):
        if own := [record for record in records if isinstance(record, kind)]:
            tables.write(context.output / name, own)
    details = {
        **report.details(),
        "plan": [asdict(share) for share in planned],
        "writer": model.name,
        **model.details,
    }
    atomic.write_text(context.output / REPORT, json.dumps(details, ensure_ascii=False))
    return Outcome("data", {"usable": wilson(report.usable, report.requests)}, details)
