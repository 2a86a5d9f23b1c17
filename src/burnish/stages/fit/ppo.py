"""PPO: clipped policy and value updates on the policy's own replies, under a KL bound."""

from __future__ import annotations

import functools
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveFloat

from burnish.models.forward import token_logprobs
from burnish.models.heads import ScalarHead, token_values
from burnish.objectives import Loss, clipped_policy, clipped_value, metric, policy_metrics
from burnish.rollouts.credit import PpoCredit, ppo_segments
from burnish.stages import policy
from burnish.stages.base import Context, Inputs, Outcome
from burnish.text.batches import Batch


class Config(policy.OnlineConfig):
    """Train ``model`` on its replies to ``prompts`` with a critic that shares its trunk.

    The KL penalty is k1 in the reward (``credit.kl_coef``).
    """

    credit: PpoCredit = PpoCredit()
    clip: PositiveFloat = 0.2
    value_clip: PositiveFloat | None = 0.2
    value_coef: NonNegativeFloat = 0.1
    entropy_coef: NonNegativeFloat = 0.0


def loss(model: Any, batch: Batch, head: ScalarHead, config: Config) -> Loss:
    """Policy, value and entropy terms summed over the replies' tokens; the count is tokens."""
    scores = token_logprobs(
        model, batch, config.sampling.temperature, entropy=config.entropy_coef > 0
    )
    old, advantages = batch.at_targets("old_logprobs"), batch.at_targets("advantages")
    clip = config.clip
    surrogate = clipped_policy(scores.logprobs, old, advantages, low=clip, high=clip)
    per_token = policy.corrected(surrogate, batch)
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
    loaded, prompts = policy.load(config, inputs, context)
    torch.manual_seed(context.seed)
    head = ScalarHead(loaded.model.config.get_text_config().hidden_size).to(loaded.model.device)
    return policy.improve(
        config,
        inputs,
        context,
        loaded,
        prompts,
        stage="fit.ppo",
        credit=functools.partial(ppo_segments, settings=config.credit),
        loss=functools.partial(loss, head=head, config=config),
        shown=["loss", "reward", "kl", "length", "clip_fraction"],
        head=head,
    )
