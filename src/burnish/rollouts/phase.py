"""The numbers of one phase: what its replies, their scores and their credit say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import pstdev

import torch

from burnish.config import InputError, Problem
from burnish.objectives.advantage import explained_variance
from burnish.objectives.divergence import k1
from burnish.objectives.importance import importance_weights
from burnish.records import Rollout
from burnish.rollouts.credit import Reply
from burnish.rollouts.missing import rewarded
from burnish.text.batches import Segment


def finite(name: str, value: float, rollout: Rollout) -> float:
    """The number, or InputError where it is none: NaN would be in every weight one step later."""
    if not math.isfinite(value):
        where = f"the {name} of a reply to prompt {rollout.prompt_id}"
        found = f"{where} is {value}: {rollout.completion[:60]!r}"
        raise InputError(Problem("", None, name, found, "a finite number"))
    return float(value)


def weighed(
    replies: Sequence[Reply], rollouts: Sequence[Rollout], cap: float | None
) -> tuple[list[Reply], dict[str, float]]:
    """The replies, with the stream ``importance`` where there is a cap, and of the trainer's over
    the sampler's probability, top_p counted in and before any cap, ``sampler_ratio`` (mean over
    tokens) and ``sampler_capped`` (share above the cap)."""
    lengths = [len(reply.tokens) for reply in replies]
    sampler = torch.cat([torch.tensor(rollout.logprobs) for rollout in rollouts])
    if all("log_kept" in reply.scores for reply in replies):
        # The sampler reports the probability before top_p; it drew from what top_p kept.
        sampler = sampler - torch.cat([reply.scores["log_kept"] for reply in replies])
    trainer = torch.cat([reply.scores["logprobs"] for reply in replies])
    weights, sums = importance_weights(trainer, sampler, cap)
    means = {f"sampler_{name}": float(total / count) for name, (total, count) in sums.items()}
    if cap is None:
        return list(replies), means
    rows = zip(replies, weights.split(lengths), strict=True)
    return [replace(one, scores={**one.scores, "importance": own}) for one, own in rows], means


def phase_metrics(replies: Sequence[Reply], rollouts: Sequence[Rollout]) -> dict[str, float]:
    """The means that are logged of a phase.

    ``reward`` and ``reward_std`` (mean and deviation over replies that have one), ``flat`` (share
    of prompts whose replies all have one reward, so that nothing tells them apart), reply
    ``length`` (mean), ``finished`` (share that ended by itself), ``entropy`` (minus the mean
    log-probability of the sampled tokens, nats a token), ``kl`` (mean over replies of the summed
    k1 to the reference, where there is one) and ``sampler_gap`` (mean absolute difference of the
    sampler's and the trainer's log-probabilities).
    """
    count = len(replies)
    known = [reply for reply, has in zip(replies, rewarded(replies), strict=True) if has]
    rewards: dict[str, list[float]] = {}
    for reply in known:
        rewards.setdefault(reply.prompt_id, []).append(reply.reward)
    gaps = [
        (reply.scores["logprobs"] - torch.tensor(rollout.logprobs)).abs()
        for reply, rollout in zip(replies, rollouts, strict=True)
    ]
    found = {
        "reward": sum(reply.reward for reply in known) / len(known),
        "reward_std": pstdev(reply.reward for reply in known),
        "flat": sum(len(set(own)) == 1 for own in rewards.values()) / len(rewards),
        "length": sum(len(reply.tokens) for reply in replies) / count,
        "finished": sum(reply.finished for reply in replies) / count,
        "entropy": -float(torch.cat([reply.scores["logprobs"] for reply in replies]).mean()),
        "sampler_gap": float(torch.cat(gaps).mean()),
    }
    if all("ref_logprobs" in reply.scores for reply in replies):
        each = [k1(r.scores["logprobs"], r.scores["ref_logprobs"]).sum() for r in replies]
        found["kl"] = float(torch.stack(each).mean())
    return found


def credited(segments: Sequence[Segment]) -> dict[str, float]:
    """``explained_variance`` of the critic over all tokens of a phase, where there is a critic."""
    if "returns" not in segments[0].per_token:
        return {}
    values, returns = (
        torch.cat([torch.tensor(s.per_token[name])[torch.tensor(s.mask)] for s in segments])
        for name in ("old_values", "returns")
    )
    return {"explained_variance": explained_variance(values, returns)}
