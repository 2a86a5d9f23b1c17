"""Candidates from the model itself: sampled, scored, filtered, paired."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from burnish.config import (
    DataRef,
    EvaluationRef,
    ExampleRef,
    ModelRef,
    PromptRef,
    SamplerRef,
    Settings,
)
from burnish.evals.statistics import wilson
from burnish.models.load import Loaded
from burnish.records import Example, Figure, Prompt, Rollout, content_id
from burnish.rewards import scorers, scoring
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.scorers import LIKELIHOOD, Calibration, Resources, ScorerSettings
from burnish.rewards.verifiers import verify_prompt
from burnish.rollouts.collect import collect
from burnish.sampling import Sampling
from burnish.selection import adaptive, instructions
from burnish.selection.decontaminate import find_leaks
from burnish.selection.filters import FilterSettings, run_filters
from burnish.selection.pairs import PairSettings, best_of, make_pairs
from burnish.stages import training, writing
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.replying import replying
from burnish.store import atomic, tables

SEED_TEMPERATURES = [
    Sampling(temperature=temperature, top_p=0.9, max_new_tokens=48)
    for temperature in (0.3, 0.7, 1.0)
]


class Config(Settings):
    """Sample ``candidates`` of ``model`` for ``prompts`` and for topics × templates.

    Each entry of ``candidates`` is one reply a prompt. Every one is kept and scored; the filters
    and best-of-n choose examples for fine-tuning, all of them together form preference pairs.
    ``real`` examples calibrate relevance and fluency, which are likelihoods under ``model``: where
    it is a served one, ``scoring.weights`` must do without these two. Prompts that overlap with
    the ``evaluation`` sets are left out.

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
    scoring: ScorerSettings = ScorerSettings()
    filters: FilterSettings = FilterSettings()
    pairing: PairSettings = PairSettings()


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
    rollouts = _scored(config, inputs, context, model.loaded, by_id, rollouts)
    filtered = run_filters(by_id, rollouts, config.filters)
    selected = [
        _example(one) for one in best_of(filtered.kept, len(config.candidates), context.seed)
    ]
    preferences, report = make_pairs(by_id, rollouts, config.pairing)
    tables.write(context.output / "rollouts.jsonl", rollouts)
    tables.write(context.output / "preferences.jsonl", preferences)
    if selected:
        tables.write(context.output / "selected.jsonl", selected)
    details = {
        "prompts": len(prompts),
        "leaked": leaked,
        "topics": dict(Counter(prompt.topic for prompt in prompts)),
        "candidates": len(rollouts),
        "selected": len(selected),
        "funnel": [asdict(step) for step in filtered.funnel],
        "pairs": asdict(report),
        **({"plan": [asdict(share) for share in shares]} if shares else {}),
        **model.details,
    }
    atomic.write_text(context.output / "report.json", json.dumps(details, ensure_ascii=False))
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
) -> list[Rollout]:
    """Every rollout with its scores and their weighted mean as reward."""
    real = training.read_all(inputs.paths("real"), Example)
    chosen = random.Random(context.seed).sample(real, min(len(real), 200))
    pairs = [(one.messages[:-1], one.messages[-1]["content"]) for one in chosen]
    reward = inputs.optional_model("reward")
    model, tokenizer, calibration = None, None, Calibration((), ())
    if loaded is not None:
        model, tokenizer = loaded.model, loaded.tokenizer
        calibration = scorers.calibrate(model, tokenizer, pairs)
    resources = Resources(
        model=model,
        tokenizer=tokenizer,
        calibration=calibration,
        reward_model=RewardModel.load(Path(reward), context.device) if reward else None,
    )
    scores = scoring.score(prompts, rollouts, config.scoring, resources)
    return [
        replace(one, scores=found, reward=scoring.aggregate(found, config.scoring))
        for one, found in zip(rollouts, scores, strict=True)
    ]


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
