"""GRPO and its kin: group-relative advantages, no critic."""

from __future__ import annotations

import functools
from typing import Any, Literal, Self

import torch
from pydantic import NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor

from burnish.models.forward import token_logprobs
from burnish.objectives import (
    AggregateKind,
    Loss,
    aggregate,
    clipped_policy,
    k2,
    k3,
    metric,
    policy_metrics,
)
from burnish.rollouts.credit import GrpoCredit, grpo_segments
from burnish.stages import policy
from burnish.stages.base import Context, Inputs, Outcome
from burnish.text.batches import Batch


class Config(policy.OnlineConfig):
    """Train ``model`` on groups of its replies to ``prompts``.

    The divergence from the reference is a term of the loss: ``k3`` (as published; its optimum
    is that of the forward divergence) or ``k2`` (that of the reverse one), times ``kl_coef``.
    ``high`` above ``clip`` is DAPO's clip, ``sequence_ratio`` GSPO's ratio, ``aggregate`` how
    tokens are summed up (``seq_mean`` GRPO, ``token_mean`` DAPO, ``constant_length`` Dr. GRPO:
    their sum over ``sampling.max_new_tokens``).
    """

    credit: GrpoCredit = GrpoCredit()
    clip: PositiveFloat = 0.2
    high: PositiveFloat | None = None
    sequence_ratio: bool = False
    aggregate: AggregateKind = "seq_mean"
    kl_coef: NonNegativeFloat = 0.04
    kl: Literal["k2", "k3"] = "k3"

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if self.online.per_prompt < 2:
            raise ValueError("online.per_prompt must be at least 2: replies compete in a group")
        return self


def summed(per_token: Tensor, segment: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Sum and count of ``per_token [N]``; ``segment [N]`` is each token's reply."""
    constant = config.aggregate == "constant_length"
    most = config.sampling.max_new_tokens if constant else None
    return aggregate(per_token, segment, config.aggregate, length=most)


def loss(model: Any, batch: Batch, config: Config) -> Loss:
    """The clipped policy term and the divergence, aggregated as the settings say."""
    scores = token_logprobs(model, batch, config.sampling.temperature)
    old, advantages = batch.at_targets("old_logprobs"), batch.at_targets("advantages")
    segment = batch.target_segments()
    form: dict[str, Any] = {
        "low": config.clip,
        "high": config.high or config.clip,
        "segment": segment if config.sequence_ratio else None,
    }
    divergence = {"k2": k2, "k3": k3}[config.kl](scores.logprobs, batch.at_targets("ref_logprobs"))
    per_token = policy.corrected(clipped_policy(scores.logprobs, old, advantages, **form), batch)
    total, count = summed(per_token + config.kl_coef * divergence, segment, config)
    with torch.no_grad():
        metrics = policy_metrics(scores.logprobs, old, advantages, **form)
    metrics["divergence"] = metric(divergence.detach())
    return Loss(total, count, metrics)


def count(batch: Batch, config: Config) -> int:
    """What the policy term of a batch is summed over: tokens or replies."""
    segment = batch.target_segments()
    blank = torch.zeros(len(segment), device=segment.device)
    return int(summed(blank, segment, config)[1])


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Alternate sampling groups and updates; save the policy."""
    loaded, prompts = policy.load(config, inputs, context)
    return policy.improve(
        config,
        inputs,
        context,
        loaded,
        prompts,
        stage="fit.grpo",
        credit=functools.partial(grpo_segments, settings=config.credit),
        loss=functools.partial(loss, config=config),
        shown=["loss", "reward", "kl", "length", "entropy", "clip_fraction"],
        count=functools.partial(count, config=config),
    )
