"""What a router knows before it is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from burnish.models.forward import hidden
from burnish.text.batches import Segment, batches

TOKENS = 4096
"""Tokens of one forward pass."""


def hidden_gates(model: PreTrainedModel, texts: Sequence[Sequence[Segment]]) -> list[Tensor]:
    """Router weights ``[E, D]`` of each layer from texts that each expert is meant for.

    A row is the mean of what the layer's feed-forward part reads at the tokens of an expert's
    texts, less the mean of all rows, at length 1: a token goes to the experts whose texts it is
    like. The idea is that of the gate mode ``hidden`` of mergekit-moe (Goddard et al. 2024, arXiv
    2403.13257), which takes the residual stream at the layer's beginning and subtracts nothing. The
    router reads the state after the norm, so that this one is taken; and what all experts' texts
    have in common, most of such a mean, would only add the same to every logit.

    Args:
        model: the dense ancestor, in eval mode.
        texts: of each expert, at least one segment.
    """
    means = torch.stack([_means(model, segments) for segments in texts], dim=1)
    rows = means - means.mean(dim=1, keepdim=True)
    return list(rows / rows.norm(dim=-1, keepdim=True).clamp_min(1e-8))


@torch.no_grad()
def _means(model: PreTrainedModel, segments: Sequence[Segment]) -> Tensor:
    """What each layer's feed-forward part reads, on average over tokens: ``[L, D]`` float32."""
    parts = [layer.get_submodule("mlp") for layer in model.base_model.layers]
    sums: dict[nn.Module, Tensor] = {}

    def keep(part: nn.Module, given: tuple[Tensor, ...]) -> None:
        found = given[0].flatten(0, -2).double().sum(0)
        sums[part] = sums[part] + found if part in sums else found

    handles = [part.register_forward_pre_hook(keep) for part in parts]
    tokens = 0
    try:
        for _, batch in batches(segments, TOKENS, model.device):
            hidden(model, batch)
            tokens += len(batch.tokens)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack([sums[part] for part in parts]).div(tokens).float().cpu()


def random_gates(layers: int, experts: int, size: int, deviation: float, seed: int) -> list[Tensor]:
    """Router weights ``[E, D]`` of each layer, normal with this ``deviation``."""
    draw = torch.Generator().manual_seed(seed)
    return [deviation * torch.randn(experts, size, generator=draw) for _ in range(layers)]
