"""Supervised fine-tuning: cross-entropy on assistant tokens."""

from __future__ import annotations

import random
from collections import Counter
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from burnish.config import DocumentRef, ExampleRef, ModelRef, Settings
from burnish.engine import DatasetSource, TrainSettings
from burnish.models.adapters import LoraSettings
from burnish.models.load import Loaded
from burnish.records import Document, Example, Tier
from burnish.selection.augment import word_dropout
from burnish.selection.pyramid import CURRICULUM
from burnish.selection.shares import divide
from burnish.stages import language, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.language import ANCHOR, SMOOTHING
from burnish.text.batches import Segment


class Config(Settings):
    """Train ``model`` on ``data``.

    ``replay`` examples are added at ``replay_share`` of the size of ``data``, and ``general``
    documents at ``general_share`` of its tokens (evenly from each file, over and over where it
    is short), weighted by ``general_weight``: both hold what earlier stages taught. ``heldout``
    of the data measures the loss that early stopping watches. ``word_dropout`` above 0 adds a copy
    of each example of ``data`` without that share of the words of its prompt. ``curriculum`` goes
    through the tiers in order in every epoch, bulk, then selected, then expert examples; general
    text is spread evenly over the epoch. As a mapping, such as ``{bulk: 64, expert: 16}``, it also
    gives the window of each tier in segments (``train.segments_per_step`` where it names none), and
    no window then holds two tiers.
    """

    model: ModelRef
    data: list[ExampleRef]
    limit: PositiveInt | None = Field(None, description="examples drawn from ``data``")
    word_dropout: float = Field(0.0, ge=0, lt=1)
    replay: list[ExampleRef] = []
    replay_share: float = Field(1.0, ge=0)
    general: list[DocumentRef] = []
    anchor: ModelRef | None = Field(None, description=ANCHOR)
    general_share: float = Field(0.5, ge=0)
    general_weight: PositiveFloat = 0.2
    label_smoothing: float = Field(0.0, ge=0, lt=1, description=SMOOTHING)
    heldout: float = Field(0.05, ge=0, lt=1)
    curriculum: bool | Annotated[dict[Tier, PositiveInt], Field(min_length=1)] = False
    sequence_length: PositiveInt = 256
    template: str | None = Field(None, description="chat template for a model without one")
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(epochs=3)

    @property
    def divides(self) -> bool:
        """Whether several processes do without anyone holding the whole model."""
        return training.divisible(self.lora)

    @model_validator(mode="after")
    def _one_size(self) -> Config:
        if isinstance(self.curriculum, dict) and self.train.tokens_per_step is not None:
            raise ValueError("curriculum gives windows in segments, train.tokens_per_step in "
                             "tokens: expected one of the two")  # fmt: skip
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Fine-tune and save the model."""
    loaded = training.load_policy(inputs, context, config.lora, config.template, config.divides)
    draw = random.Random(context.seed)
    examples = training.drawn(inputs.paths("data"), Example, config.limit, context.seed)
    kept, heldout = training.split_heldout(examples, config.heldout, context.seed)
    replay = training.read_all(inputs.paths("replay"), Example)
    count = min(len(replay), round(config.replay_share * len(kept)))
    copies = word_dropout(kept, config.word_dropout, context.seed) if config.word_dropout else []
    taught = kept + copies + draw.sample(replay, count)
    segments = language.conversations(loaded, taught)
    wanted = config.general_share * sum(len(segment.tokens) for segment in segments)
    files = [training.read_all([path], Document) for path in inputs.paths("general")]
    general = [
        row
        for records in files
        for row in _rows(config, loaded, records, wanted / len(files), context.seed)
    ]
    anchor = language.load_anchor(inputs, context.device, loaded)
    result = training.fit(
        loaded.model,
        DatasetSource(
            segments + general,
            config.train,
            seed=context.seed,
            phases=_phases(taught, segments, len(general), draw) if config.curriculum else None,
            sizes=_sizes(config),
        ),
        language.language_loss(anchor, config.label_smoothing),
        config.train,
        context,
        evaluate=training.measured(
            loaded.model,
            language.conversations(loaded, heldout),
            language.language_loss(None),
            config.train.tokens_per_batch,
        )
        if heldout
        else None,
    )
    details = {
        "examples": len(kept),
        "augmented": len(copies),
        "replay": count,
        "heldout": len(heldout),
        "too_long": len(taught) - len(segments),
        "general_tokens": sum(len(row.tokens) for row in general),
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss", "eval_loss"]),
    }
    training.save_policy(loaded, context, training.card("fit.sft", inputs, details))
    return Outcome("model", training.fit_figures(result), details)


def _phases(
    examples: list[Example], segments: list[Segment], general: int, draw: random.Random
) -> list[int]:
    """The place of each segment's tier in the curriculum, and of as many ``general`` rows that
    follow them: drawn, in the proportions of the tiers."""
    tier = {example.id: CURRICULUM[example.tier] for example in examples}
    phases = [tier[segment.id] for segment in segments]
    shares = divide(Counter(phases), general)
    places = [phase for phase in sorted(shares) for _ in range(shares[phase])]
    draw.shuffle(places)
    return phases + places


def _sizes(config: Config) -> dict[int, int] | None:
    """Segments of a window by the tier's place in the curriculum, where that gives them."""
    given = config.curriculum
    if isinstance(given, bool):
        return None
    return {at: given.get(tier, config.train.segments_per_step) for tier, at in CURRICULUM.items()}


def _rows(
    config: Config, loaded: Loaded, records: list[Document], wanted: float, seed: int
) -> list[Segment]:
    """Rows of the documents, in random order and again from the start, of ``wanted`` tokens."""
    rows = language.documents(
        loaded, records, config.sequence_length, config.general_weight, general=True
    )
    draw = random.Random(seed)
    taken: list[Segment] = []
    tokens = 0
    while rows and tokens < wanted:
        draw.shuffle(rows)
        for row in rows:
            if tokens >= wanted:
                break
            taken.append(row)
            tokens += len(row.tokens)
    return taken
