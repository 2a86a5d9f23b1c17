"""Two-layer models of several architectures on disk, and what transformers says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tests import tiny
from transformers import (
    AutoModelForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from burnish.exporting.write import Source
from burnish.models.load import load_model, save_model

SHAPE: dict[str, Any] = {
    "vocab_size": len(tiny.tokenizer()) + 4, "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "max_position_embeddings": 256, "initializer_range": 0.2, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
"""Rows to spare: transformers reads Qwen's tokenizers with a token more."""
KINDS = ("llama", "llama_untied", "qwen2", "qwen3")


def make(kind: str) -> Any:
    """A random model; norms and biases are random too, so that each has its place."""
    torch.manual_seed(0)
    if kind.startswith("llama"):
        tied = kind == "llama"
        model = tiny.plain(0, hidden_size=64, intermediate_size=96, max_position_embeddings=256,
                           tie_word_embeddings=tied)  # fmt: skip
    elif kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, tie_word_embeddings=True))
    else:
        model = Qwen3ForCausalLM(Qwen3Config(**SHAPE, head_dim=32, tie_word_embeddings=False))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.add_(torch.randn_like(weight) * 0.2)
    return model.eval()


def source(kind: str, folder: Path) -> Source:
    """Such a model saved and loaded again."""
    saved = save_model(make(kind), tiny.tokenizer(), folder / "model")
    return Source(load_model(saved, device="cpu"), folder / "scratch")


def expected(folder: Path, tokens: list[int]) -> list[float]:
    """Log-probabilities of ``tokens[1:]`` by transformers."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        told = model(torch.tensor([tokens])).logits[0].double().log_softmax(1)
    return told[range(len(tokens) - 1), tokens[1:]].tolist()
