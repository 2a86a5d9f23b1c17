"""Credit: from rewards of whole replies to numbers for each token that a loss can use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from pydantic import Field
from torch import Tensor

from burnish.config import Settings
from burnish.objectives.advantage import (
    GroupKind,
    WhitenKind,
    gae_packed,
    group_advantages,
    whiten,
)
from burnish.objectives.constraint import constrained_advantages
from burnish.objectives.divergence import k1
from burnish.rollouts.control import AdaptiveKl
from burnish.text.batches import Segment

PAIR = "pair"


@dataclass(frozen=True)
class Reply:
    """One rollout as the trainer sees it.

    ``prompt`` and ``tokens [L]`` are ids, ``reward`` is that of the whole reply, ``finished``
    whether it ended by itself, ``cost`` what a constraint bounds. ``scores`` has streams ``[L]``
    float32 on the CPU, by name: ``logprobs`` and where there are such ``ref_logprobs``,
    ``values`` and ``cost_values``, all of the trainer's own forward pass before its first step on
    this reply, and ``importance``, the weight of each token's policy loss.
    """

    id: str
    prompt_id: str
    prompt: Sequence[int]
    tokens: Sequence[int]
    reward: float
    finished: bool
    scores: Mapping[str, Tensor] = field(default_factory=dict)
    cost: float = 0.0

    def segment(self, streams: Mapping[str, Tensor] | None = None) -> Segment:
        """Prompt and reply as one segment, the reply's tokens trained; streams are 0 before."""
        before = len(self.prompt)
        return Segment(
            [*self.prompt, *self.tokens],
            [False] * before + [True] * len(self.tokens),
            self.id,
            {name: [0.0] * before + values.tolist() for name, values in (streams or {}).items()},
        )


@dataclass(frozen=True)
class Controls:
    """Numbers that move from phase to phase: the ``multiplier`` of a constraint, None where there
    is none, with the mean ``cost`` that moved it last; and ``kl_coef`` in place of the setting,
    None where that is fixed."""

    multiplier: float | None = None
    cost: float | None = None
    kl_coef: float | None = None


FIXED = Controls()


class Credit(Protocol):
    """Replies of a phase to segments with the streams the loss wants."""

    def __call__(self, replies: list[Reply], *, controls: Controls) -> list[Segment]:
        """One segment for each reply."""
        ...


class PpoCredit(Settings):
    """Credit for PPO.

    ``kl_coef`` weighs the divergence from the reference, estimated by k1 and taken from the
    reward of each token (so that the optimum is the reverse divergence's); ``adaptive`` moves it
    from phase to phase, None leaves it fixed. ``missing_eos_penalty`` is taken from the reward of
    a reply that was cut off. ``whiten`` names how the advantages of a whole phase are made to have
    mean 0 and variance 1, None for not at all.
    """

    kl_coef: float = Field(0.05, ge=0)
    adaptive: AdaptiveKl | None = None
    gamma: float = Field(1.0, ge=0, le=1)
    lam: float = Field(0.95, ge=0, le=1)
    missing_eos_penalty: float = Field(0.0, ge=0)
    whiten: WhitenKind | None = "unbiased"


class GrpoCredit(Settings):
    """Credit for GRPO and its kin: the reply's reward against those of its prompt's other replies.

    The divergence from the reference is the loss's business here, not the reward's.
    """

    advantage: GroupKind = "grpo_unbiased"
    missing_eos_penalty: float = Field(0.0, ge=0)


def outcome(reply: Reply, missing_eos_penalty: float) -> float:
    """The reply's reward, less the penalty where it was cut off."""
    return reply.reward - (0.0 if reply.finished else missing_eos_penalty)


def token_rewards(reply: Reply, settings: PpoCredit) -> Tensor:
    """``[L]``: ``-kl_coef * k1`` at each token of the reply, and the outcome at its last.

    Their sum is ``outcome - kl_coef * sum(k1)`` (Ziegler et al. 2019, arXiv 1909.08593, eq. 2).
    """
    divergence = k1(reply.scores["logprobs"], reply.scores["ref_logprobs"])
    rewards = -settings.kl_coef * divergence
    rewards[-1] += outcome(reply, settings.missing_eos_penalty)
    return rewards


def token_costs(reply: Reply, settings: PpoCredit) -> Tensor:
    """``[L]``: ``kl_coef * k1`` at each token of the reply, and its cost at the last.

    With the divergence in reward and cost, ``(A_r - lambda A_c) / (1 + lambda)`` weighs it by
    ``kl_coef`` whatever lambda is.
    """
    costs = settings.kl_coef * k1(reply.scores["logprobs"], reply.scores["ref_logprobs"])
    costs[-1] += reply.cost
    return costs


def ppo_segments(
    replies: Sequence[Reply], settings: PpoCredit, controls: Controls = FIXED
) -> list[Segment]:
    """Segments with the streams ``old_logprobs``, ``ref_logprobs``, ``old_values``,
    ``advantages`` (whitened over all replies), ``returns`` (not whitened) and, where replies
    have it, ``importance``. With the ``multiplier`` of a constraint the advantages are those of
    reward and cost, and there are ``old_cost_values`` and ``cost_returns``.
    """
    if controls.kl_coef is not None:
        settings = settings.model_copy(update={"kl_coef": controls.kl_coef})
    rewards = [token_rewards(reply, settings) for reply in replies]
    advantages, returns = _estimated(replies, rewards, "values", settings)
    streams = {"returns": returns}
    if controls.multiplier is not None:
        costs = [token_costs(reply, settings) for reply in replies]
        against, cost_returns = _estimated(replies, costs, "cost_values", settings)
        advantages = constrained_advantages(advantages, against, controls.multiplier)
        streams["cost_returns"] = cost_returns
        streams["old_cost_values"] = torch.cat([reply.scores["cost_values"] for reply in replies])
    if settings.whiten is not None:
        advantages = whiten(advantages, settings.whiten)
    streams["advantages"] = advantages
    lengths = [len(reply.tokens) for reply in replies]
    rows = zip(*(values.split(lengths) for values in streams.values()), strict=True)
    return [
        reply.segment(
            {
                "old_logprobs": reply.scores["logprobs"],
                "ref_logprobs": reply.scores["ref_logprobs"],
                "old_values": reply.scores["values"],
                **dict(zip(streams, row, strict=True)),
                **_found(reply, "importance"),
            }
        )
        for reply, row in zip(replies, rows, strict=True)
    ]


def _estimated(
    replies: Sequence[Reply], rewards: Sequence[Tensor], values: str, settings: PpoCredit
) -> tuple[Tensor, Tensor]:
    """Advantages and returns of all replies' tokens, by the critic's stream ``values``."""
    lengths = torch.tensor([len(reply.tokens) for reply in replies])
    segment = torch.arange(len(replies)).repeat_interleave(lengths)
    critic = torch.cat([reply.scores[values] for reply in replies])
    return gae_packed(torch.cat(list(rewards)), critic, segment, settings.gamma, settings.lam)


def grpo_segments(
    replies: Sequence[Reply], settings: GrpoCredit, controls: Controls = FIXED
) -> list[Segment]:
    """Segments with the streams ``old_logprobs``, ``advantages`` (one number for all tokens of a
    reply) and, where replies have them, ``ref_logprobs`` and ``importance``. With the
    ``multiplier`` of a constraint the advantages are those of reward and cost, each within its
    group.

    Raises:
        ValueError: a prompt has a single reply.
    """
    numbers = {name: i for i, name in enumerate(dict.fromkeys(r.prompt_id for r in replies))}
    outcomes = torch.tensor([outcome(r, settings.missing_eos_penalty) for r in replies])
    groups = torch.tensor([numbers[reply.prompt_id] for reply in replies])
    advantages = group_advantages(outcomes, groups, settings.advantage)
    if controls.multiplier is not None:
        costs = torch.tensor([reply.cost for reply in replies])
        against = group_advantages(costs, groups, settings.advantage)
        advantages = constrained_advantages(advantages, against, controls.multiplier)
    segments = []
    for reply, advantage in zip(replies, advantages, strict=True):
        streams = {
            "old_logprobs": reply.scores["logprobs"],
            "advantages": advantage.expand(len(reply.tokens)),
            **_found(reply, "ref_logprobs", "importance"),
        }
        segments.append(reply.segment(streams))
    return segments


def pair_segments(
    replies: Sequence[Reply], missing_eos_penalty: float = 0.0, controls: Controls = FIXED
) -> list[Segment]:
    """Segments with the streams ``ref_logprobs`` and ``pair``: n at the tokens of the best reply
    to the n-th prompt, -n at those of the worst, 0 at all others, which have no targets. A prompt
    whose replies are all equally good, or whose best and worst say the same, has no pair. With the
    ``multiplier`` of a constraint a reply is as good as its reward less multiplier times cost
    (Liu et al. 2024, C-DPO, arXiv 2403.02475).
    """
    groups: dict[str, list[int]] = {}
    for index, reply in enumerate(replies):
        groups.setdefault(reply.prompt_id, []).append(index)
    price = controls.multiplier or 0.0
    outcomes = [outcome(r, missing_eos_penalty) - price * r.cost for r in replies]
    marks = [0.0] * len(replies)
    for number, places in enumerate(groups.values(), start=1):
        best, worst = (which(places, key=outcomes.__getitem__) for which in (max, min))
        told_apart = list(replies[best].tokens) != list(replies[worst].tokens)
        if outcomes[best] > outcomes[worst] and told_apart:
            marks[best], marks[worst] = number, -number
    segments = []
    for reply, mark in zip(replies, marks, strict=True):
        streams = {PAIR: torch.full((len(reply.tokens),), mark), **_found(reply, "ref_logprobs")}
        segment = reply.segment(streams)
        segments.append(segment if mark else replace(segment, mask=[False] * len(segment.tokens)))
    return segments


def _found(reply: Reply, *names: str) -> dict[str, Tensor]:
    return {name: reply.scores[name] for name in names if name in reply.scores}
