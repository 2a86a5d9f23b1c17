"""Correction for replies that another distribution wrote than the one that is trained."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.objectives.divergence import bounded_exp
from burnish.objectives.types import Metric, check, metric, widened


@torch.no_grad()
def importance_weights(
    logprobs: Tensor, sampler_logprobs: Tensor, cap: float | None
) -> tuple[Tensor, dict[str, Metric]]:
    """``min(p / p_sampler, cap)`` of each token, to weigh its policy loss by. No gradient.

    Truncated importance sampling (Ionides 2008, "Truncated importance sampling"; for a trainer
    and a sampler that disagree: Yao et al. 2025, "On the rollout-training mismatch in modern RL
    systems"). The cap bounds the variance and leaves a bias where it acts.

    Args:
        logprobs: of the trainer before its first step on the reply, ``[N]``.
        sampler_logprobs: of the distribution that the tokens were drawn from, ``[N]``; with top_p
            renormalised over what it keeps, see ``sampling.draw.kept_mass``.
        cap: the largest weight, or ``None`` for no bound.

    Returns:
        Weights ``[N]``, float32 or wider, and of the ratio *before* the cap, as (sum, count) over
        tokens: ``ratio`` (mean) and, with a cap, ``capped`` (share above it).

    Raises:
        ValueError: a shape or dtype is wrong, or ``cap`` is not above 0.
    """
    check("N", logprobs=logprobs, sampler_logprobs=sampler_logprobs)
    ratio = bounded_exp(widened(logprobs) - widened(sampler_logprobs))
    if cap is None:
        return ratio, {"ratio": metric(ratio)}
    if cap <= 0:
        raise ValueError(f"cap: {cap}, expected above 0")
    capped = (ratio > cap).to(ratio.dtype)
    return ratio.clamp(max=cap), {"ratio": metric(ratio), "capped": metric(capped)}
