"""What can be said of a reply in one number: the scorers by name.

================  ==============  ============================================================
scorer            needs           measures
================  ==============  ============================================================
relevance         model           how much of the reply's surprise the prompt explains: normalised
                                  pointwise mutual information (log p(r|q) − log p(r)) / −log p(r)
completeness                      1, halved when cut off, halved outside the length bounds, times
                                  the share of the prompt's format rules that are kept
fluency           model           mean log-probability of a token without the prompt, times
                                  1 − repetition
verifier                          (verifier's score + 1) / 2, where the prompt has a specification
reward_model      reward model    sigmoid of the reward model's score
similarity        encoder         cosine of prompt and reply under a sentence encoder
judge             judge           a judge's grade by a rubric (see ``judge``)
refusal                           1 where the reply declines, else 0
perplexity        model           of the reply given the prompt, from 1
ifd               model           instruction-following difficulty, ratio of losses
ifd_perplexity    model           the same, ratio of perplexities (see ``likelihood.Surprise``)
================  ==============  ============================================================

All but the last three lie in [0, 1]. ``reward_model.NAME`` is the sigmoid of one head of a reward
model that has several; the score of ``reward_model`` itself is their mean. A function of one's own
is a scorer too (``own_scorer``).

Relevance and fluency have no natural unit, so they are read against *real* replies (the
calibration): a reply that stands as high as the median real one gets 1, below that twice the
share of real replies that it reaches. A reply that says nothing (no word, a bare heading, the
question again) has 0 in the first three and from the judge.
"""

from __future__ import annotations

import hashlib
import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor

from burnish.config import InputError, Problem, Settings
from burnish.records import content_id
from burnish.rewards.candidates import Candidate, says_nothing
from burnish.rewards.formats import split_words
from burnish.rewards.judge import Judge
from burnish.rewards.likelihood import NO_PROMPT, Pair, Surprise, surprises
from burnish.rewards.refusal import is_refusal
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.similarity import Encode, similarities
from burnish.rewards.textstats import repetition
from burnish.rewards.verifiers import verify

HEAD = "reward_model."
LIKELIHOOD = ("relevance", "fluency", "perplexity", "ifd", "ifd_perplexity")
"""The scorers that need the model itself, not only its replies."""
SEED_WEIGHTS = {"relevance": 0.4, "completeness": 0.3, "fluency": 0.3}

Needs = Literal["nothing", "model", "encoder", "reward model", "judge"]
Values = list[float | None]


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
        check_weights(weights)
        if not weights or sum(weights.values()) <= 0:
            raise ValueError("one of the weights must be above 0")
        return weights


@dataclass(frozen=True)
class Calibration:
    """Sorted values of real replies: ``relevance`` (NPMI) and ``fluency`` (nats a token).

    ``source`` identifies the replies.
    """

    relevance: tuple[float, ...]
    fluency: tuple[float, ...]
    source: str = ""


@dataclass
class Resources:
    """What scorers need: a reference model, real replies to compare with, a reward model, a judge.

    ``model`` and ``tokenizer`` may be None where no scorer of ``LIKELIHOOD`` is asked for.
    ``model_id``, ``reward_id`` and ``encoder_id`` identify weights, where scores outlive the
    process. What the model and the reward model gave for a reply is kept, since several scorers
    read it.
    """

    model: Any
    tokenizer: Any
    calibration: Calibration = Calibration((), ())
    reward_model: RewardModel | None = None
    judge: Judge | None = None
    encode: Encode | None = None
    tokens_per_batch: int = 4096
    model_id: str = ""
    reward_id: str = ""
    encoder_id: str = ""
    seen: dict[str, Surprise | None] = field(default_factory=dict)
    rewards: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Scorer:
    """A named measure of replies. Values lie between 0 and ``highest``; None is a missing one.

    ``weight`` is its part of the total where none is said. ``version`` changes when its program
    does, so that scores of the older one are not taken for it.
    """

    name: str
    needs: Needs
    values: Callable[[Sequence[Candidate], ScorerSettings, Resources], Values]
    weight: float = 1.0
    highest: float = 1.0
    version: str = "1"

    def fingerprint(self, settings: ScorerSettings, resources: Resources) -> str:
        """All that its scores depend on besides the reply: settings, weights, real replies."""
        basis: list[Any] = [self.name, self.version]
        if self.needs == "model":
            basis.append(resources.model_id)
        if self.name in ("relevance", "fluency"):
            basis.append(resources.calibration.source)
        if self.name == "completeness":
            basis += [settings.min_words, settings.max_words]
        if self.needs == "reward model" and resources.reward_model is not None:
            model = resources.reward_model
            basis += [resources.reward_id, dict(model.weights), model.aggregate.model_dump()]
        if self.needs == "encoder":
            basis.append(resources.encoder_id)
        if self.needs == "judge" and resources.judge is not None:
            basis.append(resources.judge.fingerprint)
        return content_id(*basis)


def standing(value: float, real: Sequence[float]) -> float:
    """``min(1, 2 × share of the sorted real values that are at most value)``."""
    return min(1.0, 2 * bisect_right(real, value) / len(real)) if real else 0.0


def calibrate(
    model: Any, tokenizer: Any, real: Sequence[Pair], tokens_per_batch: int = 4096
) -> Calibration:
    """Measure real (prompt, reply) pairs, those of supervised examples for instance."""
    found = surprises(model, tokenizer, real, tokens_per_batch)
    values = [one for one in found if one is not None]
    return Calibration(
        relevance=tuple(sorted(one.npmi for one in values)),
        fluency=tuple(sorted(one.fluency for one in values)),
        source=content_id([[list(messages), reply] for messages, reply in real]),
    )


def _surprises(candidates: Sequence[Candidate], resources: Resources) -> list[Surprise | None]:
    """What the model says of each reply; the same two passes serve several scorers."""
    todo = {one.content: one for one in candidates if one.content not in resources.seen}
    pairs = [(one.messages or NO_PROMPT, one.reply) for one in todo.values()]
    if pairs:
        if resources.model is None:
            expected = f"a model for the scorers {', '.join(LIKELIHOOD)}"
            raise InputError(Problem("", None, "model", "none given", expected))
        found = surprises(resources.model, resources.tokenizer, pairs, resources.tokens_per_batch)
        resources.seen.update(zip(todo, found, strict=True))
    return [resources.seen[one.content] for one in candidates]


def _by_model(
    read: Callable[[Candidate, Surprise, Calibration], float],
    candidates: Sequence[Candidate],
    settings: ScorerSettings,
    resources: Resources,
) -> Values:
    found = _surprises(candidates, resources)
    return [
        None if seen is None else read(one, seen, resources.calibration)
        for one, seen in zip(candidates, found, strict=True)
    ]


def _relevance(one: Candidate, seen: Surprise, real: Calibration) -> float:
    return 0.0 if says_nothing(one) else standing(seen.npmi, real.relevance)


def _fluency(one: Candidate, seen: Surprise, real: Calibration) -> float:
    if says_nothing(one):
        return 0.0
    return standing(seen.fluency, real.fluency) * (1 - repetition(one.reply))


def completeness(one: Candidate, settings: ScorerSettings) -> float:
    """See the table above."""
    if says_nothing(one):
        return 0.0
    count = len(split_words(one.reply))
    value = 1.0 if one.finished else 0.5
    if not settings.min_words <= count <= settings.max_words:
        value *= 0.5
    if one.verify is not None and one.verify.get("kind") == "format":
        value *= (verify(one.verify, one.reply).score + 1) / 2
    return value


def _completeness(
    candidates: Sequence[Candidate], settings: ScorerSettings, resources: Resources
) -> Values:
    return [completeness(one, settings) for one in candidates]


def _verifier(
    candidates: Sequence[Candidate], settings: ScorerSettings, resources: Resources
) -> Values:
    return [
        None if one.verify is None else (verify(one.verify, one.reply, one.question).score + 1) / 2
        for one in candidates
    ]


def _refusal(
    candidates: Sequence[Candidate], settings: ScorerSettings, resources: Resources
) -> Values:
    return [float(is_refusal(one.reply)) for one in candidates]


def _similarity(
    candidates: Sequence[Candidate], settings: ScorerSettings, resources: Resources
) -> Values:
    if resources.encode is None:
        return [None] * len(candidates)
    found = similarities(resources.encode, [(one.question, one.reply) for one in candidates])
    return [
        0.0 if says_nothing(one) else value for one, value in zip(candidates, found, strict=True)
    ]


def _judge(
    candidates: Sequence[Candidate], settings: ScorerSettings, resources: Resources
) -> Values:
    return (
        [None] * len(candidates) if resources.judge is None else resources.judge.grades(candidates)
    )


def _reward(
    head: str | None,
    candidates: Sequence[Candidate],
    settings: ScorerSettings,
    resources: Resources,
) -> Values:
    model = resources.reward_model
    if model is None:
        return [None] * len(candidates)
    if head is not None and head not in model.head.names:
        expected = f"one of {', '.join(HEAD + name for name in model.head.names)}"
        found = f"no head for {HEAD + head!r}"
        raise InputError(Problem("", None, "weights", found, expected))
    todo = {one.content: one for one in candidates if one.content not in resources.rewards}
    pairs = [(one.messages or NO_PROMPT, one.reply) for one in todo.values()]
    resources.rewards.update(zip(todo, model.outputs(pairs) if pairs else [], strict=True))
    rows = [resources.rewards[one.content] for one in candidates]
    values = model.combined(torch.stack(rows), head).tolist() if rows else []
    return [0.5 * (1 + math.tanh(value / 2)) for value in values]


SCORERS: dict[str, Scorer] = {
    scorer.name: scorer
    for scorer in (
        Scorer("relevance", "model", partial(_by_model, _relevance), SEED_WEIGHTS["relevance"]),
        Scorer("completeness", "nothing", _completeness, SEED_WEIGHTS["completeness"]),
        Scorer("fluency", "model", partial(_by_model, _fluency), SEED_WEIGHTS["fluency"]),
        Scorer("verifier", "nothing", _verifier),
        Scorer("reward_model", "reward model", partial(_reward, None)),
        Scorer("similarity", "encoder", _similarity),
        Scorer("judge", "judge", _judge),
        Scorer("refusal", "nothing", _refusal, 0.0),
        Scorer("perplexity", "model", partial(_by_model, lambda _, s, __: s.perplexity), 0.0,
               math.inf),
        Scorer("ifd", "model", partial(_by_model, lambda _, s, __: s.ifd("loss_ratio")), 0.0,
               math.inf),
        Scorer("ifd_perplexity", "model",
               partial(_by_model, lambda _, s, __: s.ifd("perplexity_ratio")), 0.0, math.inf),
    )
}  # fmt: skip


def find(name: str) -> Scorer:
    """The scorer of this name; raises ValueError where there is none."""
    if name.startswith(HEAD):
        return Scorer(name, "reward model", partial(_reward, name.removeprefix(HEAD)))
    if name not in SCORERS:
        raise ValueError(f"unknown scorer {name!r}; known: {', '.join(SCORERS)}")
    return SCORERS[name]


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise ValueError where a scorer is unknown, or a weight is none that a mean can have."""
    for name, weight in weights.items():
        if find(name).highest != 1.0 and weight:
            raise ValueError(f"{name!r} has no upper end, so it cannot be part of a mean")
        if not 0 <= weight < math.inf:
            raise ValueError(f"weights must not be negative, found {weight} for {name!r}")


def own_scorer(name: str) -> Scorer:
    """A scorer from ``module:function``, ``function(messages, reply) -> float | None``.

    It is called once a reply and gives a number in [0, 1], or None for a missing score. Its module
    is imported, so it runs with all rights of this process.

    Raises:
        InputError: it cannot be imported, or is no function.
    """
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(import_module(module_name), function_name)
        version = hashlib.sha256(Path(inspect.getfile(function)).read_bytes()).hexdigest()
    except (ImportError, AttributeError, TypeError, ValueError, OSError) as error:
        expected = "module:function that can be imported"
        raise InputError(Problem("", None, name, f"{error}", expected)) from error

    def values(
        candidates: Sequence[Candidate], settings: ScorerSettings, resources: Resources
    ) -> Values:
        return [_own_value(name, function, one) for one in candidates]

    return Scorer(name, "nothing", values, version=version)


def _own_value(name: str, function: Callable[..., Any], one: Candidate) -> float | None:
    value = function(list(one.messages), one.reply)
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 <= value <= 1:
        found = f"{name} gave {value!r:.80}"
        raise InputError(Problem(one.name, None, "score", found, "a number in [0, 1], or None"))
    return float(value)
