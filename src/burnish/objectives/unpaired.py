"""KTO: a preference loss on single replies marked desirable or undesirable."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from burnish.objectives.types import Loss, check, metric, weighted_sum, widened


def kto(
    logprobs: Tensor,
    ref_logprobs: Tensor,
    desirable: Tensor,
    baseline: Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Loss:
    """Kahneman-Tversky optimisation, Ethayarajh et al. 2024 (arXiv 2402.01306), section 4.

    With ``g = log p - log p_ref`` of the whole reply a row is ``w_d (1 - s(beta (g - z)))`` for a
    desirable reply and ``w_u (1 - s(beta (z - g)))`` for an undesirable one.

    Args:
        logprobs, ref_logprobs: summed log-probabilities of the replies, ``[B]``.
        desirable: ``[B]`` bool.
        baseline: z ``[]`` from :func:`kto_baseline`, over the whole optimiser step.
        beta: strength of the reference.
        desirable_weight, undesirable_weight: ``w_d`` and ``w_u``.

    Returns:
        The loss over B replies, with metrics ``desirable_reward``, ``undesirable_reward``
        (``beta g``) and ``baseline``.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("B", logprobs=logprobs, ref_logprobs=ref_logprobs)
    check("B", "bool", like=logprobs, desirable=desirable)
    check("", baseline=baseline)
    gain = widened(logprobs) - widened(ref_logprobs)
    sign = desirable.to(gain.dtype) * 2 - 1
    rows = torch.sigmoid(-beta * sign * (gain - baseline.detach()))
    good = desirable.to(gain.dtype)
    weights = desirable_weight * good + undesirable_weight * (1 - good)
    return Loss(
        weighted_sum(rows, weights),
        metric(gain)[1],
        {
            "desirable_reward": metric(beta * gain, good),
            "undesirable_reward": metric(beta * gain, 1 - good),
            "baseline": metric(baseline.reshape(1)),
        },
    )


def kto_baseline(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """KTO's reference point z: ``max(0, mean(log p - log p_ref))`` of mismatched replies.

    The replies are other prompts' (see :func:`mismatched`); z carries no gradient and is never
    negative. Give it every reply of the optimiser step, so that accumulation changes nothing.

    Args:
        logprobs, ref_logprobs: summed log-probabilities of the mismatched replies, ``[B]``.

    Returns:
        z ``[]``.

    Raises:
        ValueError: a shape or dtype is wrong, or there are no replies.
    """
    check("B", logprobs=logprobs, ref_logprobs=ref_logprobs)
    if logprobs.numel() == 0:
        raise ValueError("logprobs: no replies, expected at least one")
    return (widened(logprobs) - widened(ref_logprobs)).detach().mean().clamp(min=0)


def mismatched(prompts: Sequence[object]) -> list[int]:
    """For each reply, given by its prompt, the place of one to another prompt: the next such, the
    last ones going on at the first. Where all prompts differ this is a rotation by one.

    Raises:
        ValueError: fewer than two different prompts, so that a reply has no other.
    """
    count = len(prompts)
    # The last replies to the first prompt look past the first ones, which are its own too.
    following = next((i for i in range(count) if prompts[i] != prompts[0]), None)
    if following is None:
        raise ValueError(f"prompts: {min(count, 1)} different, expected at least 2 to mismatch")
    others = [0] * count
    for index in reversed(range(count)):
        after = (index + 1) % count
        if prompts[after] != prompts[index]:
            following = after
        others[index] = following
    return others
