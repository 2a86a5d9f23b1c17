"""Estimators of the divergence of the policy from the reference, and its controller.

Where the term sits decides what is optimised: k1 subtracted from the reward, or k2 as a loss,
lead to the optimum of the reverse divergence KL(p | p_ref); k3 as a loss leads to that of the
forward divergence; k1 as a loss has an expected gradient of 0 and regularises nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.objectives.types import check, widened

# exp(20) is 5e8: far beyond any useful ratio, and finite in every dtype computed in.
LARGEST_LOG_RATIO = 20.0


def bounded_exp(log_ratio: Tensor) -> Tensor:
    """``exp(log_ratio)``, same shape, the exponent held within ±20 so that it stays finite."""
    return torch.exp(log_ratio.clamp(-LARGEST_LOG_RATIO, LARGEST_LOG_RATIO))


def k1(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``log p - log p_ref``, ``[N]``: unbiased, of high variance, may be negative.

    Schulman 2020, "Approximating KL divergence"; ``logprobs, ref_logprobs: [N]``, of tokens
    sampled from p. Raises ValueError where a shape or dtype is wrong.
    """
    check("N", logprobs=logprobs, ref_logprobs=ref_logprobs)
    return widened(logprobs) - widened(ref_logprobs)


def k2(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``(log p - log p_ref)^2 / 2``, ``[N]``: biased, of low variance; as a loss its gradient is
    that of the reverse divergence.

    Schulman 2020, "Approximating KL divergence"; ``logprobs, ref_logprobs: [N]``, of tokens
    sampled from p. Raises ValueError where a shape or dtype is wrong.
    """
    check("N", logprobs=logprobs, ref_logprobs=ref_logprobs)
    return 0.5 * (widened(logprobs) - widened(ref_logprobs)) ** 2


def k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """``x - 1 - log x`` with ``x = p_ref / p``, ``[N]``: unbiased and never negative.

    Schulman 2020, "Approximating KL divergence"; Shao et al. 2024 (GRPO, arXiv 2402.03300)
    eq. 4. ``logprobs, ref_logprobs: [N]``, of tokens sampled from p. Raises ValueError where a
    shape or dtype is wrong.
    """
    check("N", logprobs=logprobs, ref_logprobs=ref_logprobs)
    log_x = widened(ref_logprobs) - widened(logprobs)
    return torch.expm1(log_x.clamp(max=LARGEST_LOG_RATIO)) - log_x


def adaptive_kl(
    coefficient: float, kl: float, *, target: float, horizon: int, samples: int
) -> float:
    """The next coefficient of a divergence held near ``target``.

    ``coefficient * (1 + clip(kl / target - 1, -0.2, 0.2) * samples / horizon)``, Ziegler et al.
    2019 (arXiv 1909.08593), section 2.2.

    Args:
        coefficient: the present one.
        kl: the divergence measured, in nats per reply (or per token, as ``target``).
        target: the divergence aimed at, above 0.
        horizon: after about how many samples a steady error of 20 % has moved it by 20 %.
        samples: replies seen since the last call.

    Raises:
        ValueError: ``target`` or ``horizon`` is not above 0.
    """
    if target <= 0 or horizon <= 0:
        raise ValueError(f"target, horizon: {target}, {horizon}, expected above 0")
    error = min(0.2, max(-0.2, kl / target - 1))
    return coefficient * (1 + error * samples / horizon)
