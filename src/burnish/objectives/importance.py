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
            renormalised over what it keeps, see :func:`kept_mass`.
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


@torch.no_grad()
def kept_mass(logits: Tensor, top_p: float) -> Tensor:
    """The probability of the nucleus that ``top_p`` keeps, ``[N]``: at least ``top_p``.

    A token that was drawn from the nucleus had probability ``p / kept_mass``, not ``p``
    (Holtzman et al. 2020, arXiv 1904.09751, eq. 3). Tokens as likely as the nucleus's least
    likely one belong to it, as in sampling.

    Args:
        logits: ``[N, V]``, divided by the temperature.
        top_p: above 0, at most 1.

    Raises:
        ValueError: a shape, dtype or parameter is wrong.
    """
    check("N V", logits=logits)
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p: {top_p}, expected above 0 and at most 1")
    best = torch.softmax(widened(logits), 1).sort(dim=1, descending=True).values
    before = best.cumsum(1, dtype=torch.float64) - best
    last = (before < top_p).sum(1, keepdim=True) - 1
    return (best * (best >= best.gather(1, last))).sum(1)
