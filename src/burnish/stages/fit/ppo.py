"""PPO: clipped policy and value updates on the policy's own replies, under a KL bound."""

from __future__ import annotations

import functools
from typing import Any

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat

from burnish.config import ModelRef, PromptRef, Settings
from burnish.engine import TrainSettings, named_trainable, train
from burnish.models.adapters import LoraSettings
from burnish.models.forward import token_logprobs
from burnish.models.heads import ScalarHead, token_values
from burnish.objectives import Loss, clipped_policy, clipped_value, metric, policy_metrics
from burnish.records import Prompt
from burnish.rollouts.credit import PpoCredit, ppo_segments
from burnish.rollouts.online import OnlineSettings, OnlineSource
from burnish.sampling import Sampling
from burnish.stages import policy, training
from burnish.stages.base import Context, Inputs, Outcome
from burnish.text.batches import Batch


class Config(Settings):
    """Train ``model`` on its replies to ``prompts``; the reference is ``model`` as it comes in.

    Rewards are the prompts' verifiers and the ``reward`` model, weighted by ``mix``. The KL
    penalty is k1 in the reward (``credit.kl_coef``); past ``max_kl`` nats a reply the fit rolls
    back and ends. ``train.epochs`` are the passes over each phase's replies.
    """

    model: ModelRef
    prompts: list[PromptRef]
    reward: ModelRef | None = None
    mix: policy.RewardMix = policy.RewardMix()
    sampling: Sampling = Sampling(temperature=1.0, max_new_tokens=32)
    online: OnlineSettings = OnlineSettings()
    credit: PpoCredit = PpoCredit()
    clip: PositiveFloat = 0.2
    value_clip: PositiveFloat | None = 0.2
    value_coef: NonNegativeFloat = 0.1
    entropy_coef: NonNegativeFloat = 0.0
    max_kl: PositiveFloat = Field(5.0, description="nats a reply")
    lora: LoraSettings | None = None
    train: TrainSettings = TrainSettings(
        learning_rate=1e-4, schedule="constant", epochs=2, segments_per_step=64, eps=1e-5
    )


def loss(model: Any, batch: Batch, head: ScalarHead, config: Config) -> Loss:
    """Policy, value and entropy terms summed over the replies' tokens; the count is tokens."""
    scores = token_logprobs(
        model, batch, config.sampling.temperature, entropy=config.entropy_coef > 0
    )
    old, advantages = batch.at_targets("old_logprobs"), batch.at_targets("advantages")
    clip = config.clip
    per_token = clipped_policy(scores.logprobs, old, advantages, low=clip, high=clip)
    values = token_values(scores.hidden, head, batch)
    value_loss = clipped_value(
        values, batch.at_targets("old_values"), batch.at_targets("returns"), config.value_clip
    )
    total = per_token.sum() + config.value_coef * value_loss.sum()
    metrics = policy_metrics(scores.logprobs.detach(), old, advantages, low=clip, high=clip)
    metrics["value_loss"] = metric(value_loss)
    if scores.entropy is not None:
        total = total - config.entropy_coef * scores.entropy.sum()
        metrics["entropy"] = metric(scores.entropy)
    return Loss(total, batch.targets.sum(), metrics)


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Alternate sampling and updates; save the policy (the critic is not kept)."""
    loaded = training.load_policy(inputs, context, config.lora)
    loaded.model.eval()
    prompts = training.read_all(inputs.paths("prompts"), Prompt)
    torch.manual_seed(context.seed)
    head = ScalarHead(loaded.model.config.get_text_config().hidden_size).to(loaded.model.device)
    source = OnlineSource(
        loaded.model,
        loaded.tokenizer,
        prompts,
        config.sampling,
        reward=policy.reward_function(
            prompts, config.mix, inputs.optional_model("reward"), context.device
        ),
        score=policy.reference_scorer(loaded, config.sampling.temperature, head),
        credit=functools.partial(ppo_segments, settings=config.credit),
        settings=config.online,
        train=config.train,
        seed=context.seed,
    )
    result = train(
        loaded.model,
        source,
        functools.partial(loss, head=head, config=config),
        config.train,
        seed=context.seed,
        scratch=context.scratch,
        metrics=context.metrics,
        progress=context.progress,
        label=context.name,
        tags={"stage": context.name, "round": context.round},
        on_step=policy.KlBound(config.max_kl),
        trainable=named_trainable(model=loaded.model, head=head),
    )
    details = {
        "prompts": len(prompts),
        "stopped": result.stopped_reason,
        "curve": training.curve(result, ["loss", "reward", "kl", "length", "clip_fraction"]),
    }
    training.save_policy(loaded, context, training.card("fit.ppo", inputs, details))
    return Outcome("model", training.fit_figures(result) | policy.figures(result), details)
