"""Advantages: how much better a token, or a whole reply, did than expected. No gradients."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from burnish.objectives.types import check, widened

WhitenKind = Literal["unbiased", "biased"]
GroupKind = Literal["grpo_unbiased", "grpo_biased", "dr_grpo", "rloo"]


@torch.no_grad()
def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimates, Schulman et al. 2016 (arXiv 1506.02438) eq. 16.

    ``A_t = d_t + gamma lam A_t'`` with ``d_t = r_t + gamma v_t' - v_t``, where t' is the next
    unmasked place of the row; after the last one the episode has ended and its value is 0.
    Masked places (padding, a tool's tokens) are stepped over: nothing there matters.

    Args:
        rewards, values: ``[B, T]``; the reward for the token at t, the value before it.
        mask: ``[B, T]`` bool, True at the policy's own tokens.
        gamma: discount.
        lam: lambda.

    Returns:
        Advantages and returns (``advantages + values``), both ``[B, T]``, 0 at masked places.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("B T", rewards=rewards, values=values)
    check("B T", "bool", like=rewards, mask=mask)
    rewards = widened(rewards).masked_fill(~mask, 0)
    values = widened(values).masked_fill(~mask, 0)
    advantages = torch.zeros_like(values)
    next_advantage = values.new_zeros(values.shape[0])
    next_value = values.new_zeros(values.shape[0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = delta + gamma * lam * next_advantage
        advantages[:, t] = advantage.masked_fill(~mask[:, t], 0)
        next_advantage = torch.where(mask[:, t], advantage, next_advantage)
        next_value = torch.where(mask[:, t], values[:, t], next_value)
    return advantages, (advantages + values).masked_fill(~mask, 0)


@torch.no_grad()
def gae_packed(
    rewards: Tensor, values: Tensor, segment: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """:func:`gae` on packed sequences: only the policy's own tokens, one sequence after another.

    Args:
        rewards, values: ``[N]``.
        segment: index of each token's sequence, ``[N]`` integer, never falling.
        gamma, lam: as in :func:`gae`.

    Returns:
        Advantages and returns, both ``[N]``.

    Raises:
        ValueError: a shape or dtype is wrong, or ``segment`` falls somewhere.
    """
    check("N", rewards=rewards, values=values)
    check("N", "integer", like=rewards, segment=segment)
    if bool((segment.diff() < 0).any()):
        raise ValueError("segment: falls somewhere, expected sequences one after another")
    lengths = torch.bincount(segment)
    if lengths.numel() == 0:
        return widened(rewards), widened(values)
    starts = lengths.cumsum(0) - lengths
    place = torch.arange(segment.numel(), device=segment.device) - starts[segment]
    mask = torch.arange(int(lengths.max()), device=segment.device) < lengths[:, None]
    padded_rewards = widened(rewards).new_zeros(mask.shape)
    padded_values = widened(values).new_zeros(mask.shape)
    padded_rewards[segment, place] = widened(rewards)
    padded_values[segment, place] = widened(values)
    advantages, returns = gae(padded_rewards, padded_values, mask, gamma, lam)
    return advantages[segment, place], returns[segment, place]


@torch.no_grad()
def whiten(
    values: Tensor,
    kind: WhitenKind = "unbiased",
    *,
    mask: Tensor | None = None,
    shift: bool = True,
    eps: float = 1e-8,
) -> Tensor:
    """``(x - mean) / sqrt(var + eps)`` over the unmasked values; the variants differ in var.

    Give it a whole rollout, not a microbatch, or the result depends on how it was split.

    Args:
        values: ``[N]``.
        kind: ``unbiased`` divides the squared deviations by n - 1, ``biased`` by n.
        mask: ``[N]`` bool, True where a value counts; ``None`` for everywhere.
        shift: False adds the mean back, so that only the scale changes.
        eps: added to the variance.

    Returns:
        ``[N]``, 0 at masked places. Fewer than two values, or equal ones, give 0 (with
        ``shift=False`` the values themselves), never NaN.

    Raises:
        ValueError: a shape or dtype is wrong, or ``kind`` is unknown.
    """
    check("N", values=values)
    check("N", "bool", like=values, mask=mask)
    if kind not in ("unbiased", "biased"):
        raise ValueError(f"kind: {kind!r}, expected unbiased or biased")
    mask = torch.ones_like(values, dtype=torch.bool) if mask is None else mask
    kept = widened(values).masked_fill(~mask, 0)
    count = mask.sum()
    mean = kept.sum() / count.clamp(min=1)
    deviation = (kept - mean).masked_fill(~mask, 0)
    divisor = (count - 1 if kind == "unbiased" else count).clamp(min=1)
    white = deviation * torch.rsqrt((deviation**2).sum() / divisor + eps)
    return white if shift else (white + mean).masked_fill(~mask, 0)


@torch.no_grad()
def explained_variance(values: Tensor, returns: Tensor) -> float:
    """``1 - Var(returns - values) / Var(returns)``: 1 where a critic foretells all, 0 where it is
    no better than a constant, below 0 where it is worse. 0 where all returns are equal.

    ``values, returns: [N]``. Raises ValueError where a shape or dtype is wrong.
    """
    check("N", values=values, returns=returns)
    target = widened(returns)
    spread = target.var(correction=0)
    if not bool(spread > 0):
        return 0.0
    return float(1 - (target - widened(values)).var(correction=0) / spread)


@torch.no_grad()
def group_advantages(
    rewards: Tensor, groups: Tensor, kind: GroupKind, *, eps: float | None = None
) -> Tensor:
    """Advantage of each reply over the others to the same prompt.

    - ``grpo_unbiased``: ``(r - mean) / (std + eps)``, std over n - 1, eps 1e-4; ``grpo_biased``:
      std over n, eps 1e-6. Shao et al. 2024 (GRPO, arXiv 2402.03300), section 4.1.2;
      implementations differ in the two choices.
    - ``dr_grpo``: ``r - mean``, Liu et al. 2025 (arXiv 2503.20783).
    - ``rloo``: ``r - mean of the others = n / (n-1) (r - mean)``, Kool et al. 2019; Ahmadian et
      al. 2024 (arXiv 2402.14740).

    Args:
        rewards: ``[B]``, finite.
        groups: index of each reply's prompt, ``[B]`` integer, in any order.
        kind: which variant.
        eps: instead of the variant's own; for the two grpo kinds.

    Returns:
        ``[B]``; exactly 0 throughout a group of equal rewards.

    Raises:
        ValueError: a shape or dtype is wrong, a reward is not finite, ``kind`` is unknown, or a
            group has one reply, which has no others to be compared with.
    """
    check("B", rewards=rewards)
    check("B", "integer", like=rewards, groups=groups)
    if not bool(torch.isfinite(rewards).all()):
        raise ValueError("rewards: not finite, expected finite numbers")
    rewards = widened(rewards)
    group, sizes = _numbered(groups)
    if bool((sizes < 2).any()):
        raise ValueError("groups: a group of one reply, expected at least two")
    n = sizes.to(rewards.dtype)
    mean = rewards.new_zeros(sizes.shape).index_add(0, group, rewards) / n
    deviation = (rewards - mean[group]).masked_fill(~_varied(rewards, group, sizes), 0)
    if kind == "dr_grpo":
        return deviation
    if kind == "rloo":
        return deviation * (n / (n - 1))[group]
    if kind not in ("grpo_unbiased", "grpo_biased"):
        raise ValueError(f"kind: {kind!r}, expected grpo_unbiased, grpo_biased, dr_grpo or rloo")
    unbiased = kind == "grpo_unbiased"
    squares = rewards.new_zeros(sizes.shape).index_add(0, group, deviation**2)
    std = (squares / (n - 1 if unbiased else n)).sqrt()
    if eps is None:
        eps = 1e-4 if unbiased else 1e-6
    return deviation / (std + eps)[group]


@torch.no_grad()
def informative(rewards: Tensor, groups: Tensor) -> Tensor:
    """``[B]`` bool: True where the reply's group has unequal rewards, so that it can teach.

    DAPO's dynamic sampling (Yu et al. 2025, arXiv 2503.14476, section 3.2) drops the others.
    ``rewards: [B]``, ``groups: [B]`` integer. Raises ValueError where a shape or dtype is wrong.
    """
    check("B", rewards=rewards)
    check("B", "integer", like=rewards, groups=groups)
    group, sizes = _numbered(groups)
    return _varied(rewards, group, sizes)


def _numbered(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Groups renumbered from 0 without gaps, ``[B]``, and the size of each, ``[G]``."""
    result: tuple[Tensor, Tensor, Tensor] = torch.unique(
        groups, return_inverse=True, return_counts=True
    )
    return result[1], result[2]


def _varied(rewards: Tensor, group: Tensor, sizes: Tensor) -> Tensor:
    empty = rewards.new_zeros(sizes.shape)
    highest = empty.scatter_reduce(0, group, rewards, "amax", include_self=False)
    lowest = empty.scatter_reduce(0, group, rewards, "amin", include_self=False)
    return (highest > lowest)[group]


@torch.no_grad()
def overlong_penalty(lengths: Tensor, limit: int, buffer: int) -> Tensor:
    """0 up to ``limit - buffer`` tokens, falling in a line to -1 at ``limit``, -1 beyond.

    DAPO's soft overlong punishment, Yu et al. 2025 (arXiv 2503.14476) eq. 13; to be added to
    the reward.

    Args:
        lengths: tokens of each reply, ``[B]`` integer.
        limit: longest reply without the full penalty.
        buffer: over how many tokens the penalty grows.

    Returns:
        ``[B]`` float32.

    Raises:
        ValueError: a shape, dtype or parameter is wrong.
    """
    check("B", "integer", lengths=lengths)
    if not 0 < buffer <= limit:
        raise ValueError(f"buffer: {buffer}, expected above 0 and at most the limit {limit}")
    return ((limit - buffer - lengths) / buffer).clamp(-1, 0)
