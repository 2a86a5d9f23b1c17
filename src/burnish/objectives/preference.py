"""Losses on pairs of a chosen and a rejected reply: the DPO family under one signature.

Notation: ``c, r`` are the policy's summed log-probabilities of the chosen and rejected reply,
``c0, r0`` the reference's, ``|c|, |r|`` the replies' lengths in tokens, ``h = (c-c0) - (r-r0)``
and ``a = (c-c0)/|c| - (r-r0)/|r|`` the per-token form of ``h``; ``s`` is the
logistic function, ``e`` the label smoothing. With soft labels each pair has its own ``e``: see
``probability``.

==============  ===========================================================================
``kind``        row of the loss
==============  ===========================================================================
dpo             ``-(1-e) log s(beta h) - e log s(-beta h)``; e = 0: Rafailov et al. 2023
                (arXiv 2305.18290) eq. 7; e > 0: cDPO, Mitchell 2023
robust_dpo      ``(-(1-e) log s(beta h) + e log s(-beta h)) / (1-2e)``; Chowdhury et al.
                2024 (arXiv 2403.00409)
ipo_sum         ``(h - 1/(2 beta))^2``; Azar et al. 2023 (arXiv 2310.12036) eq. 17
ipo_token_mean  ``(a - 1/(2 beta))^2``, the same on per-token means
hinge           ``max(0, 1 - beta h)``; SLiC, Zhao et al. 2023 (arXiv 2305.10425)
dpo_norm        dpo on ``a``; Lambert et al. 2024 (Tulu 3, arXiv 2411.15124)
simpo           ``-log s(beta (c/|c| - r/|r|) - gamma)``; Meng et al. 2024
                (arXiv 2405.14734) eq. 6
orpo            ``-c/|c| - beta log s(logit(c/|c|) - logit(r/|r|))``, logit(x) =
                ``x - log(1-exp x)``; Hong et al. 2024 (arXiv 2403.07691) eq. 4, 6 and 7
==============  ===========================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu

from burnish.objectives.types import Loss, accuracy, check, metric, weighted_sum, widened

PreferenceKind = Literal[
    "dpo", "robust_dpo", "ipo_sum", "ipo_token_mean", "hinge", "dpo_norm", "simpo", "orpo"
]
PREFERENCE_KINDS: tuple[str, ...] = get_args(PreferenceKind)
REFERENCE_FREE = frozenset({"simpo", "orpo"})
NEEDS_LENGTHS = frozenset({"ipo_token_mean", "dpo_norm", "simpo", "orpo"})
_SMOOTHED = frozenset({"dpo", "robust_dpo", "dpo_norm"})
SOFT = frozenset({"dpo", "dpo_norm"})
"""The kinds that take soft labels; robust_dpo would divide by 0 at one half."""


@dataclass(frozen=True)
class _Rows:
    """What a row function sees: implied rewards, mean log-probabilities, the parameters."""

    chosen_reward: Tensor
    rejected_reward: Tensor
    chosen_mean: Tensor | None
    beta: float
    smoothing: float | Tensor
    gamma: float

    @property
    def margin(self) -> Tensor:
        return self.chosen_reward - self.rejected_reward


def preference(
    kind: PreferenceKind,
    chosen: Tensor,
    rejected: Tensor,
    ref_chosen: Tensor | None = None,
    ref_rejected: Tensor | None = None,
    *,
    chosen_length: Tensor | None = None,
    rejected_length: Tensor | None = None,
    chosen_mean: Tensor | None = None,
    weights: Tensor | None = None,
    probability: Tensor | None = None,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    nll: float = 0.0,
) -> Loss:
    """Preference loss, summed over pairs; ``count`` is the sum of ``weights`` (1 a pair).

    The table at the top of this module gives each kind's row and its paper.

    ``nll`` adds ``-nll * c/|c|`` to each row (Pang et al. 2024, arXiv 2404.19733, eq. 1, and
    Llama 3): the likelihood of the chosen reply alone. Where tokens are left out of ``c`` and
    ``r``, ``chosen_mean`` stands for ``c/|c|`` in it and in the likelihood term of orpo.

    Args:
        kind: which row of the table.
        chosen, rejected: the policy's summed log-probabilities, ``[P]``.
        ref_chosen, ref_rejected: the reference's, ``[P]``; only simpo and orpo do without.
        chosen_length, rejected_length: tokens of each reply, ``[P]`` float, at least 1; for the
            per-token kinds (``NEEDS_LENGTHS``) and, the chosen one, for ``nll``.
        chosen_mean: mean log-probability of each whole chosen reply, ``[P]``; ``None`` for
            ``chosen / chosen_length``.
        weights: weight of each pair, ``[P]``; ``None`` for 1.
        probability: of each pair, that the chosen reply is the better one, ``[P]``; ``None`` for
            1. With ``p`` and no smoothing the row of dpo and dpo_norm, which alone take it, is
            the cross-entropy ``-(p log s(x) + (1-p) log s(-x))`` (Bai et al. 2022, arXiv
            2212.08073, section 4.1); a smoothing ``e`` makes ``p`` of it ``(1-e) p + e (1-p)``.
        beta: strength of the reference (for ipo 1/(2 beta) is the margin aimed at, for orpo
            the weight of the odds-ratio term).
        label_smoothing: e, the share of pairs labelled the wrong way round; below 0.5; for dpo,
            robust_dpo and dpo_norm.
        gamma: margin of simpo.
        nll: weight of the likelihood term.

    Returns:
        The loss with metrics ``accuracy`` (a tie counts half), ``margin``, ``chosen_reward``,
        ``rejected_reward`` (times beta, per token for the per-token kinds) and, with lengths,
        ``chosen_nll`` (per token).

    Raises:
        ValueError: a shape, dtype or parameter is wrong, or one the kind needs is missing.
    """
    check(
        "P",
        chosen=chosen,
        rejected=rejected,
        ref_chosen=ref_chosen,
        ref_rejected=ref_rejected,
        chosen_length=chosen_length,
        rejected_length=rejected_length,
        chosen_mean=chosen_mean,
        weights=weights,
        probability=probability,
    )
    has_reference = ref_chosen is not None and ref_rejected is not None
    has_lengths = chosen_length is not None and rejected_length is not None
    _check_parameters(kind, has_reference, has_lengths, label_smoothing, gamma)
    if nll and chosen_length is None and chosen_mean is None:
        raise ValueError("chosen_length: missing, needed by nll")
    if probability is not None and kind not in SOFT:
        raise ValueError(f"probability: given, but {kind} does not use it")
    if weights is None:
        weights = chosen.new_ones(chosen.shape)
    chosen, rejected = widened(chosen), widened(rejected)
    if chosen_mean is None and chosen_length is not None:
        chosen_mean = chosen / chosen_length
    rows = _Rows(
        chosen_reward=_reward(kind, chosen, ref_chosen, chosen_length),
        rejected_reward=_reward(kind, rejected, ref_rejected, rejected_length),
        chosen_mean=chosen_mean,
        beta=beta,
        smoothing=_smoothing(label_smoothing, probability),
        gamma=gamma,
    )
    losses = _ROWS[kind](rows)
    if nll and rows.chosen_mean is not None:
        losses = losses - nll * rows.chosen_mean
    return Loss(weighted_sum(losses, weights), metric(weights)[0], _metrics(rows, weights))


def _check_parameters(
    kind: str, has_reference: bool, has_lengths: bool, smoothing: float, gamma: float
) -> None:
    if kind not in PREFERENCE_KINDS:
        raise ValueError(f"kind: {kind!r}, expected one of {', '.join(PREFERENCE_KINDS)}")
    if kind not in REFERENCE_FREE and not has_reference:
        raise ValueError(f"ref_chosen, ref_rejected: missing, needed by {kind}")
    if kind in NEEDS_LENGTHS and not has_lengths:
        raise ValueError(f"chosen_length, rejected_length: missing, needed by {kind}")
    if not 0 <= smoothing < 0.5:
        raise ValueError(f"label_smoothing: {smoothing}, expected at least 0 and below 0.5")
    if smoothing and kind not in _SMOOTHED:
        raise ValueError(f"label_smoothing: {smoothing}, but {kind} does not use it")
    if gamma and kind != "simpo":
        raise ValueError(f"gamma: {gamma}, but {kind} does not use it")


def _smoothing(share: float, probability: Tensor | None) -> float | Tensor:
    return share if probability is None else share + (1 - 2 * share) * (1 - widened(probability))


def _reward(kind: str, policy: Tensor, ref: Tensor | None, length: Tensor | None) -> Tensor:
    reward = policy if kind in REFERENCE_FREE or ref is None else policy - ref
    return reward / length if kind in NEEDS_LENGTHS and length is not None else reward


def _logistic(rows: _Rows) -> Tensor:
    logits = rows.beta * rows.margin
    return -(1 - rows.smoothing) * logsigmoid(logits) - rows.smoothing * logsigmoid(-logits)


def _robust(rows: _Rows) -> Tensor:
    logits, e = rows.beta * rows.margin, rows.smoothing
    return (-(1 - e) * logsigmoid(logits) + e * logsigmoid(-logits)) / (1 - 2 * e)


def _squared(rows: _Rows) -> Tensor:
    return (rows.margin - 1 / (2 * rows.beta)) ** 2


def _hinge(rows: _Rows) -> Tensor:
    return relu(1 - rows.beta * rows.margin)


def _simpo(rows: _Rows) -> Tensor:
    return -logsigmoid(rows.beta * rows.margin - rows.gamma)


def _orpo(rows: _Rows) -> Tensor:
    odds = _log_odds(rows.chosen_reward) - _log_odds(rows.rejected_reward)
    assert rows.chosen_mean is not None
    return -rows.chosen_mean - rows.beta * logsigmoid(odds)


def _log_odds(mean_logprob: Tensor) -> Tensor:
    # A reply of probability 1 has infinite odds; the largest finite ones keep gradients finite.
    mean_logprob = mean_logprob.clamp(max=-torch.finfo(mean_logprob.dtype).eps)
    return mean_logprob - torch.log(-torch.expm1(mean_logprob))


_ROWS: dict[str, Callable[[_Rows], Tensor]] = {
    "dpo": _logistic,
    "robust_dpo": _robust,
    "ipo_sum": _squared,
    "ipo_token_mean": _squared,
    "hinge": _hinge,
    "dpo_norm": _logistic,
    "simpo": _simpo,
    "orpo": _orpo,
}


def _metrics(rows: _Rows, weights: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    metrics = {
        "accuracy": metric(accuracy(rows.margin), weights),
        "margin": metric(rows.beta * rows.margin, weights),
        "chosen_reward": metric(rows.beta * rows.chosen_reward, weights),
        "rejected_reward": metric(rows.beta * rows.rejected_reward, weights),
    }
    if rows.chosen_mean is not None:
        metrics["chosen_nll"] = metric(-rows.chosen_mean, weights)
    return metrics
