"""What is asked of the router of a mixture of experts besides the language loss."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.objectives.types import Loss, Metric, check, widened


def load_balance(logits: Tensor, top_k: int) -> Loss:
    """Load balance: ``E sum_i f_i P_i``, 1 where all experts get alike, ``E / top_k`` where the
    same ``top_k`` get all. Fedus et al. 2022, Switch Transformer (arXiv 2101.03961), eq. 4 to 6.

    ``f_i`` is expert i's share of the choices (no gradient), ``P_i`` its mean probability; both are
    taken over the tokens of the batch, layer by layer, and the layers' mean is the loss. A product
    of two means is no sum over tokens: over several batches this is the mean of theirs by tokens,
    as wherever it is computed batch by batch. transformers counts ``f`` per token instead, so that
    its value is ``top_k`` times this one, and joins all layers before it multiplies.

    Args:
        logits: of the router, ``[L, T, E]``.
        top_k: experts that a token goes through.

    Returns:
        ``total`` is the batch's value times ``count``, its T tokens; with the metric ``balance``.

    Raises:
        ValueError: a shape, dtype or ``top_k`` is wrong.
    """
    chances, shares = _shares(logits, top_k)
    balance = (shares * chances.mean(dim=1)).sum(dim=-1).mean() * logits.shape[2]
    return _over_tokens("balance", balance * logits.shape[1], logits)


def router_z(logits: Tensor) -> Loss:
    """Squared log-partition: ``sum_t logsumexp(x_t)^2``, the layers' mean. It keeps logits
    small, where rounding changes little. Zoph et al. 2022, ST-MoE (arXiv 2202.08906), eq. 5.

    Args:
        logits: of the router, ``[L, T, E]``.

    Returns:
        ``count`` is the T tokens; with the metric ``router_z``.

    Raises:
        ValueError: a shape or dtype is wrong.
    """
    check("L T E", logits=logits)
    squares = torch.logsumexp(widened(logits), dim=-1).square()
    return _over_tokens("router_z", squares.mean(dim=0).sum(), logits)


def router_metrics(logits: Tensor, top_k: int) -> dict[str, Metric]:
    """How tokens are spread: ``load.L.E``, expert E's share of the choices in layer L (all of a
    layer's add up to 1), and ``router_entropy``, in nats, of a token's probabilities: the mean of
    all layers, ``ln E`` where it goes anywhere alike.

    Args:
        logits: of the router, ``[L, T, E]``.
        top_k: experts that a token goes through.
    """
    chances, shares = _shares(logits.detach(), top_k)
    count = chances.new_tensor(float(logits.shape[1]))
    entropy = torch.special.entr(chances).sum(dim=-1).mean(dim=0).sum()
    loads = {
        f"load.{layer}.{expert}": (share * count, count)
        for layer, row in enumerate(shares)
        for expert, share in enumerate(row)
    }
    return {"router_entropy": (entropy, count), **loads}


def with_auxiliary(main: Loss, extra: Loss, coefficient: float) -> Loss:
    """``main`` with the mean of ``extra`` for each of its own units, times ``coefficient``.

    The two count different things (targets, and tokens that pass a router); so that a window is
    still divided once, by ``main``'s count, the other's mean weighs as many units as ``main`` has.
    """
    share = main.count / extra.count
    total = main.total + coefficient * extra.total * share.to(extra.total.dtype)
    return Loss(total, main.count, {**main.metrics, **extra.metrics})


def _shares(logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Probabilities ``[L, T, E]``, and each expert's share of the choices ``[L, E]``."""
    check("L T E", logits=logits)
    experts = logits.shape[2]
    if not 1 <= top_k <= experts:
        raise ValueError(f"top_k: {top_k}, expected 1 to {experts}")
    chances = torch.softmax(widened(logits), dim=-1)
    chosen = torch.zeros_like(chances).scatter_(-1, chances.topk(top_k, dim=-1).indices, 1.0)
    return chances, chosen.mean(dim=1) / top_k


def _over_tokens(name: str, total: Tensor, logits: Tensor) -> Loss:
    count = total.new_tensor(float(logits.shape[1]))
    return Loss(total, count, {name: (total.detach(), count)})
