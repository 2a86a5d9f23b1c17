"""Weights in 4 bits under an adapter (QLoRA), through bitsandbytes where it is installed."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch
from torch import nn
from transformers import BitsAndBytesConfig

from burnish.config import Problem

DEVICES = ("cuda", "cpu")
PACKS = "support_avx512bf16_for_cpu"


def problems(device: str) -> list[Problem]:
    """Why weights cannot be held in 4 bits on ``device`` ("auto" or as torch names it)."""
    kind = device.partition(":")[0]
    found = []
    if importlib.util.find_spec("bitsandbytes") is None:
        what = "4-bit weights need a package that is not installed"
        found.append(Problem("", None, "lora.bits", what, "pip install bitsandbytes"))
    if kind not in ("auto", *DEVICES):
        what = f"no 4-bit weights on device {device!r}"
        found.append(Problem("", None, "lora.bits", what, f"one of {', '.join(DEVICES)}"))
    return found


def loading(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` that round every linear layer but the head to 4 bits.

    NF4 with double quantisation (Dettmers et al. 2023, arXiv 2305.14314, section 3): 16 quantiles
    of a normal distribution, scaled by the largest of each 64 weights, and the scales in 8 bits.
    A layer multiplies in ``dtype``.
    """
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": settings, "device_map": {"": device}}


def keep_differentiable(model: nn.Module) -> None:
    """Keep bitsandbytes from packing the weights anew for inference, in place.

    On CPUs with AVX512-BF16 it does so at the first pass in eval mode. From then on a layer
    computes in bfloat16 and lets no gradient through, and it says nothing of that.
    """
    for module in model.modules():
        if hasattr(module, PACKS):
            setattr(module, PACKS, False)


def is_quantised(model: nn.Module) -> bool:
    """Whether some of the weights are held in fewer bits than the model computes in."""
    return bool(getattr(model, "is_quantized", False))


def numel(weight: nn.Parameter) -> int:
    """How many weights a parameter stands for; in 4 bits two of them share a byte."""
    state = getattr(weight, "quant_state", None)
    return weight.numel() if state is None else math.prod(state.shape)
