"""Drawing one token a row from logits, and what it was worth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from burnish.objectives.types import check, widened
from burnish.sampling.settings import Sampling

BLOCK = 128
LIKELIEST = 256
"""With ``top_p`` the nucleus is first looked for among this many tokens."""


def draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Draw one token a row by inverting the cumulative distribution at ``uniform``.

    Args:
        logits: ``[R, V]`` float32.
        uniform: ``[R]`` float64 in [0, 1); unused at temperature 0.

    Returns:
        Tokens ``[R]`` and their log-probabilities ``[R]`` under ``softmax(logits / temperature)``
        over the whole vocabulary: not renormalised by ``top_p``, and at temperature 1 where
        tokens are chosen greedily. It is the definition of ``models.forward.token_logprobs``.
    """
    if sampling.temperature == 0:
        tokens = logits.argmax(1)
        return tokens, logprobs_of(logits, tokens, sampling)
    probabilities = torch.softmax(_scaled(logits, sampling), 1)
    weights = probabilities if sampling.top_p == 1 else _nucleus(probabilities, sampling.top_p)
    tokens = inverted(weights, uniform)
    return tokens, _at(probabilities, tokens).log()


def distribution(logits: Tensor, sampling: Sampling) -> Tensor:
    """What ``draw`` draws from, ``[R, V]``: at temperature 0 all of it on one token."""
    if sampling.temperature == 0:
        return torch.zeros_like(logits).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
    probabilities = torch.softmax(_scaled(logits, sampling), 1)
    if sampling.top_p == 1:
        return probabilities
    weights = _nucleus(probabilities, sampling.top_p)
    return weights / weights.sum(1, keepdim=True)


def logprobs_of(logits: Tensor, tokens: Tensor, sampling: Sampling) -> Tensor:
    """Log-probabilities of given tokens ``[R]``, as ``draw`` gives them."""
    scaled = _scaled(logits, sampling)
    return _at(scaled, tokens) - scaled.logsumexp(1)


def _scaled(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits as log-probabilities are told of them: at temperature 0 as at 1."""
    return logits if sampling.temperature in (0, 1) else logits / sampling.temperature


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """The probabilities of the tokens that ``top_p`` leaves, 0 for the others."""
    return probabilities * (probabilities >= _nucleus_edge(probabilities, top_p))


def likeliest(logits: Tensor, count: int, sampling: Sampling) -> list[tuple[int, float]]:
    """The ``count`` likeliest tokens of ``logits [V]`` with log-probabilities as ``draw`` gives."""
    best = torch.log_softmax(_scaled(logits, sampling), 0).topk(min(count, len(logits)))
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))


def inverted(weights: Tensor, uniform: Tensor) -> Tensor:
    """``[R]``: where the cumulative sum of ``weights [R, V]`` passes ``uniform [R]`` of the total.

    First the block of columns, then the column in it: one pass over all weights instead of three.
    Sums of blocks are added up in float64: in float32 the tail of a large vocabulary is lost.
    """
    blocks = F.pad(weights, (0, -weights.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    ends = blocks.sum(2).cumsum(1, dtype=torch.float64)
    target = uniform * ends[:, -1]
    block = _passed(ends, target)
    rows = torch.arange(len(weights), device=weights.device)
    before = torch.where(block > 0, ends[rows, block - 1], 0.0)
    within = blocks[rows, block].cumsum(1, dtype=torch.float64)
    return block * BLOCK + _passed(within, target - before)


def _passed(cumulative: Tensor, target: Tensor) -> Tensor:
    """The first place of each row of ``[R, N]`` whose sum is above ``target [R]``.

    Rounding may leave the target at or behind the last sum. right=True steps over places of
    weight zero, whose sum equals the one before.
    """
    last = cumulative[:, -1]
    target = torch.minimum(target, torch.nextafter(last, torch.zeros_like(last)))
    return torch.searchsorted(cumulative, target[:, None], right=True).squeeze(1)


@torch.no_grad()
def kept_mass(logits: Tensor, top_p: float) -> Tensor:
    """The probability of the nucleus that ``top_p`` keeps, ``[N]``: at least ``top_p``.

    A token that was drawn from the nucleus had probability ``p / kept_mass``, not ``p``
    (Holtzman et al. 2020, arXiv 1904.09751, eq. 3).

    Args:
        logits: ``[N, V]``, divided by the temperature.
        top_p: above 0, at most 1.

    Raises:
        ValueError: a shape, dtype or parameter is wrong.
    """
    check("N V", logits=logits)
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p: {top_p}, expected above 0 and at most 1")
    # As in ``draw``, bit for bit: a sum may come out just below or just above top_p.
    return _nucleus(torch.softmax(widened(logits), 1), top_p).sum(1)


def _at(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(1, tokens[:, None]).squeeze(1)


def _nucleus_edge(probabilities: Tensor, top_p: float) -> Tensor:
    """``[R, 1]``: the probability of the least likely token of the nucleus.

    Tokens exactly as likely as that one all belong.
    """
    count = min(LIKELIEST, probabilities.shape[1])
    best = probabilities.topk(count, dim=1).values
    if count < probabilities.shape[1] and bool((best.sum(1) < top_p).any()):
        best = probabilities.sort(dim=1, descending=True).values
    before = best.cumsum(1, dtype=torch.float64) - best
    inside = (before < top_p).sum(1, keepdim=True)
    return best.gather(1, inside - 1)
