"""How far a student's whole next-token distribution is from a teacher's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from burnish.objectives.language import cross_entropy, held_to
from burnish.objectives.types import Loss, check, widened

DivergenceKind = Literal["forward", "reverse", "jensen_shannon"]


def distribution_divergence(
    logits: Tensor,
    ref_logits: Tensor,
    kind: DivergenceKind = "forward",
    *,
    temperature: float = 1.0,
    beta: float = 0.5,
) -> Tensor:
    """A divergence between two distributions over the whole vocabulary, ``[N]`` in nats.

    With ``p = softmax(ref_logits / t)`` of the teacher and ``q = softmax(logits / t)``:

    - ``forward``: ``KL(p | q)``, which spreads the student over all that the teacher may say;
    - ``reverse``: ``KL(q | p)``, which keeps it to what the teacher would say;
    - ``jensen_shannon``: ``beta KL(p | m) + (1 - beta) KL(q | m)``, ``m = beta p + (1 - beta) q``
      (Agarwal et al. 2024, arXiv 2306.13649, eq. 1). Over ``beta`` (over ``1 - beta``) it tends to
      the forward (the reverse) one as that goes to 0.

    All are multiplied by ``t^2``, so that gradients keep their size at any temperature (Hinton et
    al. 2015, arXiv 1503.02531, section 2).

    Args:
        logits: of the student, ``[N, V]``.
        ref_logits: of the teacher, ``[N, V]``; no gradient flows into them.
        temperature: t, above 0.
        beta: the teacher's share of the mixture, between 0 and 1; of ``jensen_shannon`` alone.

    Raises:
        ValueError: a shape, dtype or parameter is wrong.
    """
    check("N V", logits=logits, ref_logits=ref_logits)
    if temperature <= 0:
        raise ValueError(f"temperature: {temperature}, expected above 0")
    if not 0 < beta < 1:
        raise ValueError(f"beta: {beta}, expected between 0 and 1")
    given = widened(logits), widened(ref_logits.detach())
    divergence: Tensor = _Divergence.apply(*given, kind, temperature, beta)  # type: ignore[no-untyped-call]
    return divergence


class _Divergence(torch.autograd.Function):
    """Keeps one ``[N, V]`` for backward, the slope. With ``s = logits / t``, for the three kinds:

    ``d/ds = q - p``, ``q (log(q / p) - KL(q | p))`` and ``(1 - beta) q (log(q / m) - KL(q | m))``.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, ref_logits: Tensor, kind: str, temperature: float, beta: float
    ) -> Tensor:
        plain = temperature == 1
        log_q, log_p = (
            (x if plain else x / temperature).log_softmax(1) for x in (logits, ref_logits)
        )
        wanted = ctx.needs_input_grad[0]
        if kind == "forward":
            p = log_p.exp()
            divergence = torch.linalg.vecdot(p, log_p.sub_(log_q))
            slope = log_q.exp_().sub_(p) if wanted else None
        else:
            mixed = kind == "jensen_shannon"
            middle = log_p
            if mixed:
                middle = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
            q, ratio = log_q.exp(), log_q.sub_(middle)
            divergence = torch.linalg.vecdot(q, ratio)
            slope = ratio.sub_(divergence[:, None]).mul_(q) if wanted else None
            if mixed:
                divergence = (1 - beta) * divergence
                divergence += beta * torch.linalg.vecdot(log_p.exp(), log_p - middle)
                slope = slope.mul_(1 - beta) if slope is not None else None
        # t^2 of the value, over t of the scaled logits.
        ctx.save_for_backward(None if slope is None else slope.mul_(temperature))
        scaled: Tensor = divergence * temperature**2
        return scaled

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * grads[0][:, None], None, None, None, None


def coarse(logits: Tensor, kept: Tensor) -> Tensor:
    """Logits of a few tokens, and one of all others together: ``[N, K + 1]``.

    Their softmax has the probabilities of the kept tokens, and the sum of the rest in its last
    place. Between two coarse distributions every divergence here is at most that of the whole
    ones (data processing), and 0 where the student is its teacher; a distribution renormalised
    over the kept tokens would teach that the others never come.

    Args:
        logits: ``[N, V]``.
        kept: ids of the tokens kept, ``[N, K]``, all different, K below V.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("N V", logits=logits)
    check("N K", "integer", kept=kept)
    if not kept.shape[1] < logits.shape[1]:
        raise ValueError(f"kept: {kept.shape[1]} tokens of {logits.shape[1]}, expected fewer")
    logits = widened(logits)
    rest = logits.scatter(1, kept, -math.inf).logsumexp(1, keepdim=True)
    return torch.cat([logits.gather(1, kept), rest], 1)


def distilled(
    divergences: Tensor, weights: Tensor, logprobs: Tensor | None = None, *, hard: float = 0.0
) -> Loss:
    """Distillation: ``total = sum(w ((1 - hard) divergence - hard log p))``, ``count = sum(w)``.

    Args:
        divergences: from the teacher at each target, ``[N]``.
        weights: weight of each target token, ``[N]``, at least 0.
        logprobs: the student's, of each target, ``[N]``; needed by ``hard`` and ``nll``.
        hard: the share of the text itself in the loss (Hinton et al. 2015, section 2).

    Returns:
        The loss in nats, with the metrics ``divergence`` and, given ``logprobs``, ``nll``: both
        over the tokens of weight above 0.

    Raises:
        ValueError: a shape, dtype or parameter is wrong, or ``logprobs`` are missing.
    """
    check("N", divergences=divergences, weights=weights, logprobs=logprobs)
    if not 0 <= hard <= 1:
        raise ValueError(f"hard: {hard}, expected between 0 and 1")
    soft = held_to(divergences, weights, "divergence")
    if logprobs is None:
        if hard > 0:
            raise ValueError("logprobs: missing, needed by hard")
        return soft
    text = cross_entropy(logprobs, weights)
    total = (1 - hard) * soft.total + hard * text.total
    return replace(soft, total=total, metrics={**soft.metrics, **text.metrics})
