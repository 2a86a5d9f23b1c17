"""An ONNX folder in place of a model of transformers: burnish's decoding runs on it as it is.

A graph has one sequence at a time: its attention (onnxruntime's ``GroupQueryAttention``) takes one
table of positions for all. So a batch is computed row by row, each from its own cells, and what
pads a row never reaches the graph.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, DynamicCache, PretrainedConfig

from burnish.config import InputError, Problem
from burnish.exporting.forms import FILES, TOLD
from burnish.exporting.runtimes import Onnx
from burnish.models.load import Loaded
from burnish.store import manifest


class OnnxModel(torch.nn.Module):
    """What ``sampling`` asks of a model: its shape, and a pass over a batch with a cache.

    Args:
        context: tokens that prompt and reply may take together.
    """

    dtype = torch.float32

    def __init__(self, runtime: Onnx, context: int) -> None:
        super().__init__()
        self.eval()
        self.runtime = runtime
        _, heads, _, size = runtime.empty[0].shape
        self.config = PretrainedConfig(
            num_hidden_layers=len(runtime.empty) // 2, num_attention_heads=heads,
            num_key_value_heads=heads, head_dim=size, hidden_size=heads * size,
            max_position_embeddings=context,
        )  # fmt: skip

    def get_input_embeddings(self) -> Any:
        """Only says where it computes."""
        return SimpleNamespace(weight=torch.empty(0))

    def forward(
        self, *, input_ids: Tensor, attention_mask: Tensor, cache: DynamicCache, **_: Any
    ) -> Any:
        """Logits ``[R, L, V]`` of ``input_ids [R, L]``, whose keys and values enter the cache.

        Positions follow from the mask ``[R, cells]``: it is 1 for a row's last cells. Logits of
        what pads a row are 0.
        """
        rows, width = input_ids.shape
        logits: Tensor | None = None
        new: list[Tensor] = []
        for row, count in enumerate(attention_mask.sum(1).tolist()):
            fresh = min(width, count)
            if not fresh:
                continue
            said, after = self.runtime.forward(
                input_ids[row, width - fresh :].tolist(), _cells(cache, row, count - fresh)
            )
            if logits is None:
                logits = torch.zeros(rows, width, said.shape[1])
                new = [torch.zeros(rows, one.shape[1], width, one.shape[3]) for one in after]
            logits[row, width - fresh :] = torch.from_numpy(said)
            for one, whole in zip(new, after, strict=True):
                one[row, :, width - fresh :] = torch.from_numpy(whole[0, :, -fresh:])
        assert logits is not None, "a batch has a row with a token"
        for place, layer in enumerate(cache.layers):
            layer.update(*new[2 * place : 2 * place + 2])
        return SimpleNamespace(logits=logits)


def load_onnx(folder: Path) -> Loaded:
    """A folder that ``write`` made, with its tokenizer and chat template.

    Raises:
        InputError: something is missing, or onnxruntime refuses the graph.
        CorruptError: the folder differs from its manifest.
    """
    manifest.verify(folder)
    try:
        context = int(json.loads((folder / TOLD).read_text(encoding="utf-8"))["context"])
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        runtime = Onnx(folder / FILES["onnx"], context, torch.get_num_threads())
    except Exception as error:
        found = f"cannot be loaded: {type(error).__name__}: {error}"
        raise InputError(Problem(str(folder), None, "onnxruntime", found)) from error
    model: Any = OnnxModel(runtime, context)
    return Loaded(model, tokenizer, str(folder), folder)


def _cells(cache: DynamicCache, row: int, count: int) -> list[Any] | None:
    """The last ``count`` cells of a row: keys and values ``[1, H, count, D]`` of each layer."""
    if not count:
        return None
    return [
        states[row : row + 1, :, -count:].contiguous().numpy()
        for layer in cache.layers
        for states in (layer.keys, layer.values)
    ]
