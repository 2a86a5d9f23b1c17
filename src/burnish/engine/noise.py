"""NEFTune: noise on the input embeddings while training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from burnish.config import InputError
from burnish.models.packing import Packing


@contextmanager
def noisy(model: nn.Module, alpha: float) -> Iterator[None]:
    """Inside the block, uniform noise of ``alpha / sqrt(L D)`` lies on the input embeddings.

    Jain et al. 2023 (arXiv 2310.05914), algorithm 1. ``L`` is the length of the token's own
    segment, however segments are packed or padded, and ``D`` the width. There is noise in train
    mode only, and only where gradients flow: not in evaluations, nor in the reference of a
    preference loss. It is drawn from torch's global generator. ``alpha`` 0 changes nothing.

    Raises:
        InputError: the model is no transformers model.
    """
    if alpha == 0:
        yield
        return
    if not isinstance(model, PreTrainedModel):
        raise InputError("neftune needs a transformers model, whose embeddings it can find")
    noise = _Noise(alpha)
    hooks = [
        model.base_model.register_forward_pre_hook(noise.measure, with_kwargs=True),
        model.get_input_embeddings().register_forward_hook(noise.add),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Noise:
    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self.lengths: Tensor | None = None

    def measure(self, module: nn.Module, args: Any, arguments: Mapping[str, Any]) -> None:
        """Before a forward pass: the length of each token's segment, ``[1, T, 1]`` packed or
        ``[S, 1, 1]`` padded; None where the call says nothing of segments."""
        packing, mask = arguments.get("packing"), arguments.get("attention_mask")
        self.lengths = None
        if isinstance(packing, Packing):
            self.lengths = packing.segment_lengths()[None, :, None]
        elif mask is not None and mask.ndim == 2:
            self.lengths = mask.sum(1)[:, None, None]

    def add(self, module: nn.Module, args: Any, embedded: Tensor) -> Tensor | None:
        """After the embeddings ``[B, T, D]``: the same with noise."""
        if not (module.training and torch.is_grad_enabled()):
            return None
        length = embedded.shape[1] if self.lengths is None else self.lengths
        size = self.alpha * torch.as_tensor(length * embedded.shape[2]).float().rsqrt()
        noise = torch.empty_like(embedded, dtype=torch.float32).uniform_(-1, 1)
        return embedded + (noise * size.to(noise.device)).to(embedded.dtype)
