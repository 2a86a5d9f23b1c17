"""Per-token losses of policy-gradient methods, to be summed by ``aggregate``."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.objectives.divergence import bounded_exp, k3
from burnish.objectives.types import Metric, check, metric, widened


def clipped_policy(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    low: float = 0.2,
    high: float = 0.2,
    dual: float | None = None,
    segment: Tensor | None = None,
) -> Tensor:
    """``-min(q A, clip(q, 1-low, 1+high) A)`` with ``q = p / p_old``, per token.

    Schulman et al. 2017 (PPO, arXiv 1707.06347) eq. 7. ``high > low`` is DAPO's clip (Yu et
    al. 2025, arXiv 2503.14476). ``dual`` c > 1 bounds the loss of a token with A < 0 by
    ``-c A`` (Ye et al. 2019, arXiv 1912.09729, eq. 5). With ``segment`` q is the sequence's:
    the geometric mean of its tokens' ratios (GSPO, Zheng et al. 2025, arXiv 2507.18071, eq. 7),
    to be aggregated with ``seq_mean``.

    Args:
        logprobs: under the policy trained, ``[N]``.
        old_logprobs: under the policy that sampled, ``[N]``, no gradient.
        advantages: ``[N]``, no gradient.
        low, high: how far q may fall below or rise above 1 and still be rewarded.
        dual: c, or ``None`` for no such bound.
        segment: index of each token's sequence, ``[N]`` integer, for the sequence ratio.

    Returns:
        ``[N]``, float32 or wider. At q = 1 the value is ``-A`` and its gradient the policy
        gradient's.

    Raises:
        ValueError: a shape, dtype or parameter is wrong.
    """
    check("N", logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages)
    if low < 0 or high < 0 or (dual is not None and dual <= 1):
        raise ValueError(f"low, high, dual: {low}, {high}, {dual}; expected >= 0, >= 0, > 1")
    ratio = _ratio(logprobs, old_logprobs, segment)
    gain = widened(advantages.detach())
    surrogate = torch.minimum(ratio * gain, ratio.clamp(1 - low, 1 + high) * gain)
    if dual is not None:
        surrogate = torch.where(gain < 0, torch.maximum(surrogate, dual * gain), surrogate)
    return -surrogate


def policy_metrics(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    *,
    low: float = 0.2,
    high: float = 0.2,
    segment: Tensor | None = None,
) -> dict[str, Metric]:
    """``clip_fraction`` (tokens whose gradient the clip removes), ``approx_kl`` (k3 of the policy
    that sampled from the one trained) and ``ratio`` (mean of q), as (sum, count) over tokens.

    Arguments and errors are those of :func:`clipped_policy`.
    """
    check("N", logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages)
    ratio = _ratio(logprobs.detach(), old_logprobs, segment)
    over = (ratio > 1 + high) & (advantages > 0)
    under = (ratio < 1 - low) & (advantages < 0)
    return {
        "clip_fraction": metric((over | under).to(ratio.dtype)),
        "approx_kl": metric(k3(old_logprobs.detach(), logprobs.detach())),
        "ratio": metric(ratio),
    }


def _ratio(logprobs: Tensor, old_logprobs: Tensor, segment: Tensor | None) -> Tensor:
    log_ratio = widened(logprobs) - widened(old_logprobs.detach())
    if segment is not None:
        log_ratio = sequence_mean(log_ratio, segment)
    return bounded_exp(log_ratio)


def sequence_mean(values: Tensor, segment: Tensor) -> Tensor:
    """Each token's sequence mean: ``values: [N]``, ``segment: [N]`` integer, result ``[N]``.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("N", values=values)
    check("N", "integer", like=values, segment=segment)
    lengths = torch.bincount(segment)
    sums = values.new_zeros(lengths.shape).index_add(0, segment, values)
    return sums[segment] / lengths[segment]


def clipped_value(
    values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None = 0.2
) -> Tensor:
    """``max((v - R)^2, (v_clipped - R)^2) / 2`` per token, v clipped to ``v_old ± clip``.

    The value loss of PPO (arXiv 1707.06347, eq. 9) with the clip that its implementations use
    (Huang et al. 2022, "The 37 implementation details of PPO").

    Args:
        values: of the model trained, ``[N]``.
        old_values: when the reply was sampled, ``[N]``, no gradient.
        returns: targets, ``[N]``, no gradient.
        clip: how far a value may move, or ``None`` for no clip.

    Returns:
        ``[N]``, float32 or wider.

    Raises:
        ValueError: a shape, dtype or parameter is wrong.
    """
    check("N", values=values, old_values=old_values, returns=returns)
    values, old, target = widened(values), widened(old_values.detach()), widened(returns.detach())
    error = (values - target) ** 2
    if clip is None:
        return 0.5 * error
    if clip < 0:
        raise ValueError(f"clip: {clip}, expected at least 0")
    held = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum(error, (held - target) ** 2)
