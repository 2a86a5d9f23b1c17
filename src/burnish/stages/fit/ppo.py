"""PPO: clipped policy and value updates on the policy's own replies, under a KL bound."""

from __future__ import annotations

import functools
from copy import deepcopy
from typing import Any, Literal, Self

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor

from burnish.config import Settings
from burnish.models.forward import token_logprobs
from burnish.models.heads import Critic, ScalarHead
from burnish.models.load import Loaded
from burnish.objectives import Loss, clipped_policy, clipped_value, metric, policy_metrics
from burnish.rollouts.control import KlControl
from burnish.rollouts.credit import PpoCredit, ppo_segments
from burnish.stages import policy
from burnish.stages.base import Context, Inputs, Outcome
from burnish.text.batches import Batch


class CriticSettings(Settings):
    """The critic: a head on the policy's ``shared`` trunk, or on its ``own``, a copy of the model
    as it comes in: twice the memory of weights, and no pull of the value loss on the policy.

    The head begins at zero and learns ``rate`` times as fast as the policy: at the policy's own
    rate it would explain next to nothing before a short fit ends, and advantages would be little
    but the differences between prompts.
    """

    trunk: Literal["shared", "own"] = "shared"
    rate: PositiveFloat = Field(20.0, description="times train.learning_rate, of the head")
    clip: PositiveFloat | None = 0.2
    coef: NonNegativeFloat = Field(0.1, description="weight of the value loss")


class Config(policy.OnlineConfig):
    """Train ``model`` on its replies to ``prompts`` with a ``critic``.

    The KL penalty is k1 in the reward (``credit.kl_coef``, fixed or adaptive). Under a
    ``constraint`` the critic has a second output, for the cost. Defaults follow Huang et al. 2024
    (arXiv 2403.17031) where a setting has a counterpart there.
    """

    credit: PpoCredit = PpoCredit()
    critic: CriticSettings = CriticSettings()
    clip: PositiveFloat = 0.2
    entropy_coef: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _horizon(self) -> Self:
        replies = self.online.prompts_per_phase * self.online.per_prompt
        if self.credit.adaptive is not None and self.credit.adaptive.horizon < replies:
            raise ValueError(
                f"credit.adaptive.horizon must be at least a phase's {replies} replies"
            )
        return self


def value_losses(
    states: Tensor, critic: Critic, batch: Batch, clip: float | None
) -> dict[str, Tensor]:
    """The critic's losses ``[N]`` by name: ``value_loss`` and, where it has a second output,
    ``cost_value_loss``. ``states [T, D]`` are the policy's."""
    values = critic(states, batch)
    columns = [values] if values.dim() == 1 else values.unbind(1)
    return {
        f"{of}value_loss": clipped_value(
            column, batch.at_targets(f"old_{of}values"), batch.at_targets(f"{of}returns"), clip
        )
        for of, column in zip(("", "cost_"), columns, strict=False)
    }


def loss(model: Any, batch: Batch, critic: Critic, config: Config) -> Loss:
    """Policy, value and entropy terms summed over the replies' tokens; the count is tokens."""
    scores = token_logprobs(
        model, batch, config.sampling.temperature, entropy=config.entropy_coef > 0
    )
    old, advantages = batch.at_targets("old_logprobs"), batch.at_targets("advantages")
    clip = config.clip
    surrogate = clipped_policy(scores.logprobs, old, advantages, low=clip, high=clip)
    per_token = policy.corrected(surrogate, batch)
    total = per_token.sum()
    metrics = policy_metrics(scores.logprobs.detach(), old, advantages, low=clip, high=clip)
    for name, value_loss in value_losses(scores.hidden, critic, batch, config.critic.clip).items():
        total = total + config.critic.coef * value_loss.sum()
        metrics[name] = metric(value_loss)
    if scores.entropy is not None:
        total = total - config.entropy_coef * scores.entropy.sum()
        metrics["entropy"] = metric(scores.entropy)
    return Loss(total, batch.targets.sum(), metrics)


def new_critic(loaded: Loaded, config: Config) -> Critic:
    """A critic that says 0 of everything, with an output for the cost where that is bounded."""
    width = loaded.model.config.get_text_config().hidden_size
    names = ("reward",) if config.constraint is None else ("reward", "cost")
    head = ScalarHead(width, names).to(loaded.model.device)
    return Critic(head, deepcopy(loaded.model) if config.critic.trunk == "own" else None).eval()


def run(config: Config, inputs: Inputs, context: Context) -> Outcome:
    """Alternate sampling and updates; save the policy (the critic is not kept)."""
    loaded, prompts = policy.load(config, inputs, context)
    torch.manual_seed(context.seed)
    critic = new_critic(loaded, config)
    rates = {"critic.head": config.critic.rate} | config.train.extras.rates
    extras = config.train.extras.model_copy(update={"rates": rates})
    train = config.train.model_copy(update={"extras": extras})
    adaptive = config.credit.adaptive
    return policy.improve(
        config.model_copy(update={"train": train}),
        inputs,
        context,
        loaded,
        prompts,
        stage="fit.ppo",
        credit=functools.partial(ppo_segments, settings=config.credit),
        loss=functools.partial(loss, critic=critic, config=config),
        shown=["loss", "reward", "kl", "length", "entropy", "clip_fraction", "explained_variance"],
        count=lambda batch: int(batch.targets.sum()),
        critic=critic,
        kl_control=KlControl(config.credit.kl_coef, adaptive) if adaptive else None,
    )
