"""Scores of candidates in [0, 1], each computed once a rollout.

=============  ===========================================================================
scorer         measures
=============  ===========================================================================
relevance      how much of the reply's surprise the prompt explains: normalised pointwise
               mutual information (log p(r|q) − log p(r)) / −log p(r) under a reference model
completeness   1, halved when cut off, halved outside the length bounds, times the share of
               the prompt's format rules that are kept
fluency        mean log-probability of a token without the prompt, times 1 − repetition
verifier       (verifier's score + 1) / 2, only where the prompt has a specification
reward_model   sigmoid of the reward model's score, only where one is given
=============  ===========================================================================

``reward_model.NAME`` is the sigmoid of one head of a reward model that has several; the score of
``reward_model`` itself is their mean.

Relevance and fluency have no natural unit, so they are read against *real* replies (the
calibration): a reply that stands as high as the median real one gets 1, below that twice the
share of real replies that it reaches. A reply that says nothing (no word, a bare heading, the
question again) has 0 in the first three.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field, field_validator

from burnish.config import InputError, Problem, Settings
from burnish.records import Prompt, Rollout
from burnish.rewards.formats import split_words
from burnish.rewards.likelihood import NO_PROMPT, Pair, reply_logprobs
from burnish.rewards.matching import normalise
from burnish.rewards.refusal import plain
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.textstats import repetition
from burnish.rewards.verifiers import verify_prompt

SCORERS = ("relevance", "completeness", "fluency", "verifier", "reward_model")
HEAD = "reward_model."
LIKELIHOOD = ("relevance", "fluency")
"""The scorers that need the model itself, not only its replies."""
_HEADINGS = {normalise(text) for text in ("Solution", "Answer", "Thought process", "解答", "答案")}
SEED_WEIGHTS = {"relevance": 0.4, "completeness": 0.3, "fluency": 0.3}


def _scorer(name: str) -> str:
    """The scorer that gives a score of this name."""
    return "reward_model" if name.startswith(HEAD) else name


class ScorerSettings(Settings):
    """Which scorers are used and with what weight, and from what reward a reply is kept.

    The defaults are the seed's: 0.4 relevance + 0.3 completeness + 0.3 fluency, kept from 0.8.
    """

    weights: dict[str, float] = Field(default_factory=lambda: dict(SEED_WEIGHTS))
    threshold: float = 0.8
    min_words: int = 1
    max_words: int = 400

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: dict[str, float]) -> dict[str, float]:
        unknown = sorted(name for name in weights if _scorer(name) not in SCORERS)
        if unknown:
            raise ValueError(f"unknown scorer {unknown[0]!r}; known: {', '.join(SCORERS)}")
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0:
            raise ValueError("weights must not be negative, and one must be above 0")
        return weights


@dataclass(frozen=True)
class Calibration:
    """Sorted values of real replies: ``relevance`` (NPMI) and ``fluency`` (nats a token)."""

    relevance: tuple[float, ...]
    fluency: tuple[float, ...]


@dataclass
class Resources:
    """What scorers need: a reference model, real replies to compare with, a reward model.

    ``model`` and ``tokenizer`` may be None where no scorer of ``LIKELIHOOD`` is asked for.
    ``cache`` holds every score by (scorer, rollout id), so that nothing is computed twice.
    """

    model: Any
    tokenizer: Any
    calibration: Calibration
    reward_model: RewardModel | None = None
    tokens_per_batch: int = 4096
    cache: dict[tuple[str, str], float] = field(default_factory=dict)


def standing(value: float, real: Sequence[float]) -> float:
    """``min(1, 2 × share of the sorted real values that are at most value)``."""
    return min(1.0, 2 * bisect_right(real, value) / len(real)) if real else 0.0


def likelihoods(
    model: Any, tokenizer: Any, pairs: Sequence[Pair], tokens_per_batch: int
) -> list[tuple[float, float]]:
    """NPMI of reply and prompt (at most 1), and nats a token without the prompt, of each pair."""
    given = reply_logprobs(model, tokenizer, pairs, tokens_per_batch)
    alone = [(NO_PROMPT, reply) for _, reply in pairs]
    free = reply_logprobs(model, tokenizer, alone, tokens_per_batch)
    return [
        ((with_prompt - without) / max(-without, 1e-6), without / max(1, count))
        for (with_prompt, _), (without, count) in zip(given, free, strict=True)
    ]


def calibrate(
    model: Any, tokenizer: Any, real: Sequence[Pair], tokens_per_batch: int = 4096
) -> Calibration:
    """Measure real (prompt, reply) pairs, those of supervised examples for instance."""
    values = likelihoods(model, tokenizer, real, tokens_per_batch)
    return Calibration(
        relevance=tuple(sorted(npmi for npmi, _ in values)),
        fluency=tuple(sorted(nats for _, nats in values)),
    )


def score(
    prompts: Mapping[str, Prompt],
    rollouts: Sequence[Rollout],
    settings: ScorerSettings,
    resources: Resources,
) -> list[dict[str, float]]:
    """The scores of every rollout, in order; a scorer that does not apply has no entry.

    Args:
        prompts: the prompt of every rollout by ``prompt_id``.
    """
    cache = resources.cache
    names = sorted(settings.weights, key=lambda name: (SCORERS.index(_scorer(name)), name))
    for name in names:
        todo = [rollout for rollout in rollouts if (name, rollout.id) not in cache]
        if todo:
            _FILL[_scorer(name)](prompts, todo, settings, resources)
    return [
        {name: cache[name, one.id] for name in names if not math.isnan(cache[name, one.id])}
        for one in rollouts
    ]


def aggregate(scores: Mapping[str, float], settings: ScorerSettings) -> float:
    """The weighted mean of the scores that are there; 0 where none is."""
    weights = {name: settings.weights[name] for name in scores if name in settings.weights}
    total = sum(weights.values())
    return sum(weights[name] * scores[name] for name in weights) / total if total > 0 else 0.0


Fill = Callable[[Mapping[str, Prompt], Sequence[Rollout], ScorerSettings, Resources], None]


def _fill_likelihood(
    prompts: Mapping[str, Prompt],
    rollouts: Sequence[Rollout],
    settings: ScorerSettings,
    resources: Resources,
) -> None:
    """Relevance and fluency come from the same two passes, so both are filled together."""
    pairs = [(rollout.prompt, rollout.completion) for rollout in rollouts]
    real = resources.calibration
    values = likelihoods(resources.model, resources.tokenizer, pairs, resources.tokens_per_batch)
    for rollout, (npmi, nats) in zip(rollouts, values, strict=True):
        spoken = not says_nothing(rollout)
        fluent = standing(nats, real.fluency) * (1 - repetition(rollout.completion))
        resources.cache["relevance", rollout.id] = standing(npmi, real.relevance) * spoken
        resources.cache["fluency", rollout.id] = fluent * spoken


def _fill_completeness(
    prompts: Mapping[str, Prompt],
    rollouts: Sequence[Rollout],
    settings: ScorerSettings,
    resources: Resources,
) -> None:
    for rollout in rollouts:
        value = completeness(prompts[rollout.prompt_id], rollout, settings)
        resources.cache["completeness", rollout.id] = value


def completeness(prompt: Prompt, rollout: Rollout, settings: ScorerSettings) -> float:
    """See the table above."""
    if says_nothing(rollout):
        return 0.0
    count = len(split_words(rollout.completion))
    value = 1.0 if rollout.finish == "stop" else 0.5
    if not settings.min_words <= count <= settings.max_words:
        value *= 0.5
    if prompt.verify is not None and prompt.verify.get("kind") == "format":
        check = verify_prompt(prompt, rollout.completion)
        value *= (check.score + 1) / 2 if check is not None else 1.0
    return value


def says_nothing(rollout: Rollout) -> bool:
    """No word, a bare heading, an unfinished "Answer:", or the question again."""
    reply = plain(rollout.completion).strip()
    said = normalise(reply)
    question = normalise(rollout.prompt[-1]["content"])
    return not split_words(reply) or reply.endswith(":") or said in _HEADINGS | {question}


def _fill_verifier(
    prompts: Mapping[str, Prompt],
    rollouts: Sequence[Rollout],
    settings: ScorerSettings,
    resources: Resources,
) -> None:
    for rollout in rollouts:
        check = verify_prompt(prompts[rollout.prompt_id], rollout.completion)
        value = math.nan if check is None else (check.score + 1) / 2
        resources.cache["verifier", rollout.id] = value


def _fill_reward(
    prompts: Mapping[str, Prompt],
    rollouts: Sequence[Rollout],
    settings: ScorerSettings,
    resources: Resources,
) -> None:
    model, pairs = resources.reward_model, [(one.prompt, one.completion) for one in rollouts]
    heads = [name for name in settings.weights if name.startswith(HEAD)]
    rows = [dict.fromkeys(("reward_model", *heads), math.nan)] * len(pairs)
    if model is not None:
        known = [HEAD + name for name in model.head.names]
        for name in heads:
            if name not in known:
                expected = f"one of {', '.join(known)}"
                raise InputError(Problem("", None, "weights", f"no head for {name!r}", expected))
        rows = [
            {"reward_model": model.total(each)} | {HEAD + n: value for n, value in each.items()}
            for each in model.score_each(pairs)
        ]
    for rollout, row in zip(rollouts, rows, strict=True):
        for name, value in row.items():
            resources.cache[name, rollout.id] = 0.5 * (1 + math.tanh(value / 2))


_FILL: dict[str, Fill] = {
    "relevance": _fill_likelihood,
    "completeness": _fill_completeness,
    "fluency": _fill_likelihood,
    "verifier": _fill_verifier,
    "reward_model": _fill_reward,
}
