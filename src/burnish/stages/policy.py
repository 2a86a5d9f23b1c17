"""What the stages that train on the policy's own replies share: all but credit and loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Self

from pydantic import Field, PositiveFloat, model_validator
from torch import Tensor

from burnish.config import ModelRef, PromptRef, Settings
from burnish.engine import (
    Action,
    FitResult,
    LossFunction,
    Source,
    StepInfo,
    TrainSettings,
    named_trainable,
    ranks,
)
from burnish.models import adapters
from burnish.models.adapters import LoraSettings
from burnish.models.heads import Critic
from burnish.models.load import Loaded
from burnish.records import Figure, Preference, Prompt, Rollout
from burnish.rollouts.constraint import ConstraintSettings, constraint
from burnish.rollouts.control import KlControl
from burnish.rollouts.credit import Credit
from burnish.rollouts.online import OnlineSettings, OnlineSource, Told
from burnish.rollouts.scoring import Score, scorer
from burnish.sampling import Sampling
from burnish.stages import training
from burnish.stages.alarms import Alarm, Alarms, first_of, recorded
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.hybrid import HybridSource, PreferenceTerm, hybrid_loss
from burnish.stages.judging import JudgeSettings
from burnish.stages.reference import with_reference
from burnish.stages.rewarding import (
    RewardMix,
    Rewards,
    annealing,
    at_last,
    judge_function,
    reward_function,
)
from burnish.stages.watch import Watch, WatchSettings, heldout_prompts, judges
from burnish.store.metrics import Metrics
from burnish.store.names import SAMPLES
from burnish.text.batches import Batch

BOUNDED = ("cost", "lambda")
"""Metrics of a constraint."""


def reference_scorer(loaded: Loaded, sampling: Sampling, critic: Critic | None = None) -> Score:
    """Scores with the model as it is now as the reference: adapter off, or a frozen copy."""
    if adapters.has_adapter(loaded.model):
        return scorer(
            loaded.model,
            temperature=sampling.temperature,
            reference=lambda: adapters.reference(loaded.model),
            critic=critic,
            top_p=sampling.top_p,
        )
    frozen = deepcopy(loaded.model).eval().requires_grad_(False)
    return scorer(
        loaded.model,
        temperature=sampling.temperature,
        reference=lambda: nullcontext(frozen),
        critic=critic,
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
    is left out of its phase. Past ``max_kl`` nats a reply the fit rolls back to the last weights
    within the bound (with held-out prompts to watch, to the best ones) and ends. ``constraint``
    holds the replies' mean cost to a budget. ``preferences`` adds a DPO term to the objective.
    ``train.epochs`` are passes over each phase's replies.
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
    preferences: PreferenceTerm | None = None
    watch: WatchSettings = WatchSettings()
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
    count: Callable[[Batch], int],
    shown: Sequence[str],
    critic: Critic | None = None,
    kl_control: KlControl | None = None,
) -> Outcome:
    """Alternate sampling and updates under KL bound, watch and alarms, and save the policy.

    Args:
        stage: its name, for the model card.
        credit: replies of a phase to segments with the streams that ``loss`` wants.
        count: of a micro-batch, the count that ``loss`` returns; for the preference term.
        shown: metrics of the report's curve.
        critic: trained along; it is not kept.
        kl_control: moves the divergence's weight in ``credit``.
    """
    score = reference_scorer(loaded, config.sampling, critic)
    heldout = heldout_prompts(config.watch, inputs, prompts, context.seed)
    scored = [*prompts, *heldout]
    rewarding = reward_function(
        scored,
        config.mix,
        inputs.optional_model("reward"),
        context.device,
        judge_function(config.judge, config.mix, inputs, context, scored),
    )
    policy = _source(config, inputs, context, loaded, prompts, score, credit, rewarding, kl_control)
    source, objective = _with_pairs(config, inputs, context, loaded, policy, loss, count)
    watch = None
    train, bound, alarms = (
        config.train,
        KlBound(config.max_kl),
        Alarms(config.watch.alarms, critic is None, config.constraint),
    )
    if heldout:
        each = policy.steps // config.online.phases * config.watch.every
        train, bound = train.model_copy(update={"eval_every": each}), KlBound(config.max_kl, False)
        judged = judges(config.watch, inputs, context.device)
        watch = Watch(
            config.watch, loaded, heldout, config.sampling, score=score,
            proxy=at_last(config.mix, rewarding),
            judges=judged, folder=context.scratch / "watch", looks=-(-policy.steps // each),
            seed=context.seed, tokens_per_batch=train.tokens_per_batch,
        )  # fmt: skip
        watch.begin()
    result = training.fit(
        loaded.model,
        source,
        objective,
        train,
        context,
        evaluate=watch.evaluate if watch else None,
        on_step=first_of(bound, alarms, *([watch] if watch else [])),
        trainable=named_trainable(model=loaded.model, **({"critic": critic} if critic else {})),
    )
    found, details = _told(config, result, alarms, watch, policy.steps)
    details = {
        "prompts": len(prompts),
        "stopped": result.stopped_reason,
        "curve": training.curve(result, [*shown, *(BOUNDED if config.constraint else ())]),
        **details,
    }
    facts = {name: details[name] for name in ("prompts", "stopped")}
    training.save_policy(loaded, context, training.card(stage, inputs, facts))
    return Outcome("model", training.fit_figures(result) | figures(result) | found, details)


def _source(
    config: OnlineConfig,
    inputs: Inputs,
    context: Context,
    loaded: Loaded,
    prompts: Sequence[Prompt],
    score: Score,
    credit: Credit,
    rewarding: Rewards,
    kl_control: KlControl | None,
) -> OnlineSource:
    """The policy's own replies as a source of batches, rewarded, scored and credited."""
    bound = config.constraint
    costly = inputs.optional_model("constraint.model")
    return OnlineSource(
        loaded.model,
        loaded.tokenizer,
        prompts,
        config.sampling,
        reward=rewarding,
        anneal=annealing(config.mix, rewarding),
        score=score,
        credit=credit,
        constraint=constraint(bound, prompts, costly, context.device) if bound else None,
        kl_control=kl_control,
        settings=config.online,
        train=config.train,
        seed=context.seed,
        told=said(context) if ranks.first() else None,
    )


def said(context: Context, each: int = 3) -> Told:
    """Keeps the first replies to ``each`` prompts of a phase in the run's ``samples.jsonl``, for
    those who look on; what a phase said before it was interrupted goes."""
    log = Metrics(context.metrics.with_name(SAMPLES))
    tags = {"stage": context.name, "round": context.round}

    def told(phase: int, rollouts: Sequence[Rollout], rewards: Sequence[float | None]) -> None:
        log.truncate_after(phase - 1, tags)
        first: dict[str, tuple[Rollout, float | None]] = {}
        for one, reward in zip(rollouts, rewards, strict=True):
            first.setdefault(one.prompt_id, (one, reward))
        for one, reward in list(first.values())[:each]:
            row = {"prompt": one.prompt, "reply": one.completion, "reward": reward}
            log.append({**tags, "step": phase, **row})

    return told


def _with_pairs(
    config: OnlineConfig,
    inputs: Inputs,
    context: Context,
    loaded: Loaded,
    policy: OnlineSource,
    loss: LossFunction,
    count: Callable[[Batch], int],
) -> tuple[Source, LossFunction]:
    """Source and loss, with the preference term where there is one."""
    term, size = config.preferences, config.train.tokens_per_batch
    if term is None:
        return policy, loss
    records = training.read_all(inputs.paths("preferences.data"), Preference)
    (pairs,) = with_reference(loaded.model, [training.pairs(loaded, records)], size, context.cache)
    source = HybridSource(
        policy, pairs, term, count=count, tokens_per_batch=size, seed=context.seed
    )
    return source, hybrid_loss(loss, term)


def _told(
    config: OnlineConfig, result: FitResult, alarms: Alarms, watch: Watch | None, steps: int
) -> tuple[dict[str, Figure], dict[str, Any]]:
    """What watch and alarms found, as figures and details."""
    raised = alarms.found(result.history)
    found: dict[str, Figure] = {}
    details: dict[str, Any] = {}
    each, last = steps // config.online.phases, result.history[-1]
    if watch is not None:
        found, details["watch"] = watch.report(result.steps)
        fell = watch.falls(result.steps)[-1]
        if fell.found:
            phase = result.steps // each
            raised.append(Alarm("over_optimised", phase, fell.lost, 0.0))
    if not last.get("kl", 0.0) <= config.max_kl and result.stopped_reason == "rollback":
        raised.append(Alarm("max_kl", int(last["phase"]) + 1, last["kl"], config.max_kl))
    if config.constraint is not None:
        details["constraint"] = config.constraint.model_dump(mode="json")
    return found, {"alarms": recorded(raised), **details}


@dataclass(frozen=True)
class KlBound:
    """Stops a fit whose replies have moved further than ``limit`` nats from the reference.

    The divergence of a phase is measured on replies sampled before its first step, so the weights
    just after that step are the last ones known to be within the bound; they are marked as such
    unless ``marks`` is False, where something else says which weights to go back to.
    """

    limit: float
    marks: bool = True

    def __call__(self, info: StepInfo) -> Action | None:
        """Marks the weights at the start of a phase within the bound; past it they come back."""
        if info.metrics["phase_step"] > 1:
            return None
        if not info.metrics["kl"] <= self.limit:  # NaN is past any bound
            return "rollback"
        return "mark" if self.marks else None


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
