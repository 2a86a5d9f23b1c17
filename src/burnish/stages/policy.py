"""What the stages that train on the policy's own replies share: all but credit and loss."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from burnish.config import InputError, ModelRef, Problem, PromptRef, Settings, process
from burnish.engine import (
    Action,
    FitResult,
    LossFunction,
    StepInfo,
    TrainSettings,
    named_trainable,
)
from burnish.evals.scored import JUDGE
from burnish.models import adapters
from burnish.models.adapters import LoraSettings
from burnish.models.heads import ScalarHead
from burnish.models.load import Loaded
from burnish.records import Figure, Prompt, Rollout
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.reward_model import RewardModel
from burnish.rewards.scorers import Resources, ScorerSettings
from burnish.rewards.scoring import ScoreCache, score
from burnish.rewards.verifiers import verify_prompt
from burnish.rollouts.constraint import ConstraintSettings, constraint
from burnish.rollouts.credit import Credit
from burnish.rollouts.online import OnlineSettings, OnlineSource
from burnish.rollouts.scoring import Score, scorer
from burnish.sampling import Sampling
from burnish.stages import training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.judging import JudgeSettings, load_judge
from burnish.stages.scoring import SCORES
from burnish.text.batches import Batch

log = logging.getLogger(__name__)

BOUNDED = ("cost", "lambda")
"""Metrics of a constraint."""


class RewardMix(Settings):
    """Weights of the rewards: the verifier's +1 / 0 / -1, the reward model's score, and the
    ``judge``'s grade between 0 (worst) and 1 (best).

    ``objectives`` weighs the heads of a reward model that has several, by name, in that score;
    those not named count for nothing. Left empty, the score is their mean. ``aggregate`` makes one
    score of those of an ensemble's members.
    """

    verifier: float = Field(1.0, ge=0)
    model: float = Field(0.1, ge=0)
    judge: float = Field(1.0, ge=0)
    objectives: dict[str, float] = {}
    aggregate: Aggregate = Aggregate()


Rewards = Callable[[list[Rollout]], list[float | None]]


def reward_function(
    prompts: Sequence[Prompt],
    mix: RewardMix,
    reward: str | None,
    device: str,
    judge: Rewards | None = None,
) -> Rewards:
    """Rewards of rollouts: the weighted sum of what applies to each prompt.

    A reply that ``judge`` gave no grade has no reward: a sum without the judge's part does not
    compare with the others.

    Raises:
        InputError: a prompt has neither a verifier nor a reward model nor a judge to score it.
    """
    model = None
    if reward and mix.model > 0:
        model = RewardModel.load(Path(reward), device, mix.objectives, mix.aggregate)
    bare = [prompt.id for prompt in prompts if prompt.verify is None]
    if bare and model is None and judge is None:
        found = f"{len(bare)} prompts have no verify, such as {bare[0]}"
        raise InputError(Problem("", None, "prompts", found, "verify, a reward model or a judge"))
    by_id: Mapping[str, Prompt] = {prompt.id: prompt for prompt in prompts}

    def rewards(rollouts: list[Rollout]) -> list[float | None]:
        checks = [verify_prompt(by_id[one.prompt_id], one.completion) for one in rollouts]
        totals = [mix.verifier * check.score if check else 0.0 for check in checks]
        if model is not None:
            scores = model.score([(one.prompt, one.completion) for one in rollouts])
            totals = [t + mix.model * s for t, s in zip(totals, scores, strict=True)]
        if judge is None:
            return list(totals)
        grades = judge(rollouts)
        return [
            None if grade is None else total + mix.judge * grade
            for total, grade in zip(totals, grades, strict=True)
        ]

    return rewards


def judge_function(
    config: OnlineConfig, inputs: Inputs, context: Context, prompts: Sequence[Prompt]
) -> Rewards | None:
    """The judge's grades between 0 and 1, None where it gives none; kept in the run's cache. None
    in place of the function where there is no judge, or people's labels say it may not be used.

    Raises:
        InputError: as ``load_judge``; or several processes share the fit, which would all ask it.
    """
    if config.judge is None or config.mix.judge == 0:
        return None
    if process.count() > 1:
        found = f"{process.count()} processes share this fit"
        raise InputError(Problem("", None, "judge", found, "one process: a judge keeps a journal"))
    cache = ScoreCache(context.cache / SCORES)
    judging = load_judge(config.judge, inputs, context, cache)
    if not judging.usable:
        assert judging.tested is not None
        log.warning("the judge is left out: %s", "; ".join(judging.tested.reasons))
        return None
    resources = Resources(None, None, judge=judging.judge)
    settings = ScorerSettings(weights={JUDGE: 1.0})
    by_id = {prompt.id: prompt for prompt in prompts}

    def grades(rollouts: list[Rollout]) -> list[float | None]:
        rows = score(by_id, rollouts, settings, resources, cache)
        return [row.get(JUDGE) for row in rows]

    return grades


def reference_scorer(loaded: Loaded, sampling: Sampling, head: ScalarHead | None = None) -> Score:
    """Scores with the model as it is now as the reference: adapter off, or a frozen copy."""
    if adapters.has_adapter(loaded.model):
        return scorer(
            loaded.model,
            temperature=sampling.temperature,
            reference=lambda: adapters.reference(loaded.model),
            head=head,
            top_p=sampling.top_p,
        )
    frozen = deepcopy(loaded.model).eval().requires_grad_(False)
    return scorer(
        loaded.model,
        temperature=sampling.temperature,
        reference=lambda: nullcontext(frozen),
        head=head,
        top_p=sampling.top_p,
    )


def corrected(per_token: Tensor, batch: Batch) -> Tensor:
    """Policy losses ``[N]``, weighed by ``importance`` where ``online.importance_cap`` is set."""
    if "importance" not in batch.per_token:
        return per_token
    return per_token * batch.at_targets("importance")


class OnlineConfig(Settings):
    """What the stages share that sample: the policy ``model``, its ``prompts``, and how replies
    score.

    The reference is ``model`` as it comes in. Rewards are the prompts' verifiers and the
    ``reward`` model and the ``judge``, weighted by ``mix``; a reply that the judge gives no grade
    is left out of its phase. Past ``max_kl`` nats a reply the fit rolls back to the
    last weights within the bound and ends. ``constraint`` holds the replies' mean cost to a
    budget. ``train.epochs`` are passes over each phase's replies.
    """

    model: ModelRef
    prompts: list[PromptRef]
    reward: ModelRef | None = None
    judge: JudgeSettings | None = None
    mix: RewardMix = RewardMix()
    sampling: Sampling = Sampling(temperature=1.0, max_new_tokens=32)
    online: OnlineSettings = OnlineSettings()
    max_kl: PositiveFloat = Field(5.0, description="nats a reply")
    constraint: ConstraintSettings | None = None
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(
        learning_rate=1e-4, schedule="constant", epochs=2, segments_per_step=64, eps=1e-5
    )

    @model_validator(mode="after")
    def _noiseless(self) -> Self:
        if self.train.extras.neftune > 0:
            raise ValueError("train.extras.neftune must be 0: the ratio to the sampler begins at 1")
        return self


def load(config: OnlineConfig, inputs: Inputs, context: Context) -> tuple[Loaded, list[Prompt]]:
    """The policy, without dropout, and its prompts."""
    loaded = training.load_policy(inputs, context, config.lora)
    loaded.model.eval()
    return loaded, training.read_all(inputs.paths("prompts"), Prompt)


def improve(
    config: OnlineConfig,
    inputs: Inputs,
    context: Context,
    loaded: Loaded,
    prompts: Sequence[Prompt],
    *,
    stage: str,
    credit: Credit,
    loss: LossFunction,
    shown: Sequence[str],
    head: ScalarHead | None = None,
) -> Outcome:
    """Alternate sampling and updates under the KL bound, and save the policy.

    Args:
        stage: its name, for the model card.
        credit: replies of a phase to segments with the streams that ``loss`` wants.
        shown: metrics of the report's curve.
        head: of a critic that is trained along; it is not kept.
    """
    heads = {} if head is None else {"head": head}
    result = training.fit(
        loaded.model,
        _source(config, inputs, context, loaded, prompts, credit, head),
        loss,
        config.train,
        context,
        on_step=KlBound(config.max_kl),
        trainable=named_trainable(model=loaded.model, **heads),
    )
    details: dict[str, Any] = {
        "prompts": len(prompts),
        "stopped": result.stopped_reason,
        "curve": training.curve(result, [*shown, *(BOUNDED if config.constraint else ())]),
    }
    if config.constraint is not None:
        details["constraint"] = config.constraint.model_dump(mode="json")
    training.save_policy(loaded, context, training.card(stage, inputs, details))
    return Outcome("model", training.fit_figures(result) | figures(result), details)


def _source(
    config: OnlineConfig,
    inputs: Inputs,
    context: Context,
    loaded: Loaded,
    prompts: Sequence[Prompt],
    credit: Credit,
    head: ScalarHead | None,
) -> OnlineSource:
    """The policy's own replies as a source of batches, rewarded, scored and credited."""
    reward = inputs.optional_model("reward")
    bound = config.constraint
    costly = inputs.optional_model("constraint.model")
    judge = judge_function(config, inputs, context, prompts)
    return OnlineSource(
        loaded.model,
        loaded.tokenizer,
        prompts,
        config.sampling,
        reward=reward_function(prompts, config.mix, reward, context.device, judge),
        score=reference_scorer(loaded, config.sampling, head),
        credit=credit,
        constraint=constraint(bound, prompts, costly, context.device) if bound else None,
        settings=config.online,
        train=config.train,
        seed=context.seed,
    )


@dataclass(frozen=True)
class KlBound:
    """Stops a fit whose replies have moved further than ``limit`` nats from the reference.

    The divergence of a phase is measured on replies sampled before its first step, so the weights
    just after that step are the last ones known to be within the bound.
    """

    limit: float

    def __call__(self, info: StepInfo) -> Action | None:
        """Marks the weights at the start of a phase within the bound; past it they come back."""
        if info.metrics["phase_step"] > 1:
            return None
        return "rollback" if info.metrics["kl"] > self.limit else "mark"


def figures(result: FitResult) -> dict[str, Figure]:
    """Reward and KL of the first and the last phase; with a constraint cost and lambda too."""
    rows = [row for row in result.history if "reward" in row]
    if not rows:
        return {}
    found = {
        "reward_before": rows[0]["reward"],
        "reward_after": rows[-1]["reward"],
        "kl_after": rows[-1].get("kl", 0.0),
    }
    if "cost" in rows[0]:
        found |= {"cost_before": rows[0]["cost"], "cost_after": rows[-1]["cost"]}
        found["lambda_after"] = rows[-1]["lambda"]
    return {name: Figure.exact(value) for name, value in found.items()}
