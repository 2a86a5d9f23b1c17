"""Families of dense models, and the mixture-of-experts architecture of transformers that each fits.

A layout is right where a mixture whose experts are all one dense model computes what that model
does: normalised weights of the chosen experts add up to 1. Names are those of published
checkpoints, one tensor for each matrix of each expert, which transformers joins when it loads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from burnish.config import InputError, Problem
from burnish.merging.parents import Parent
from burnish.store.shards import Spec

_FFN = re.compile(r"model\.layers\.(?P<layer>\d+)\.mlp\.(?P<part>\w+_proj)\.weight")
_CARRIED = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "hidden_act", "max_position_embeddings", "initializer_range", "rms_norm_eps",
    "rope_parameters", "attention_bias", "sliding_window", "use_sliding_window", "bos_token_id",
    "eos_token_id", "pad_token_id", "use_cache",
)  # fmt: skip
PARTS = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Layout:
    """An architecture: its ``model_type``, its settings beside those of the dense model, and how
    its tensors are called. ``width`` and ``count`` are the settings for an expert's inner size and
    the number of experts. ``inert`` are tensors that have no dense counterpart, by the end of their
    name with their shape (``D`` is the hidden size): they are 0, and add nothing.
    """

    kind: str
    width: str
    count: str
    block: str
    parts: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    inert: Mapping[str, tuple[int | str, ...]] = field(default_factory=dict)

    def gate(self, layer: int) -> str:
        """The name of a layer's router weights, ``[E, D]``."""
        return f"model.layers.{layer}.{self.block}.gate.weight"

    def expert(self, layer: int, number: int, part: str) -> str:
        """The name of a matrix of an expert."""
        block = f"model.layers.{layer}.{self.block}"
        return f"{block}.experts.{number}.{self.parts[part]}.weight"

    def zeros(self, layer: int, hidden: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of a layer's tensors that are 0."""
        return {
            f"model.layers.{layer}.{self.block}.{name}": tuple(
                hidden if size == "D" else int(size) for size in shape
            )
            for name, shape in self.inert.items()
        }

    def config(self, dense: Any, experts: int, top_k: int) -> Any:
        """The configuration of a mixture of models that have the configuration ``dense``."""
        carried = {n: deepcopy(getattr(dense, n)) for n in _CARRIED if hasattr(dense, n)}
        values = {**carried, **self.settings, self.width: dense.intermediate_size,
                  self.count: experts, "num_experts_per_tok": top_k}  # fmt: skip
        return AutoConfig.for_model(self.kind, **values)


_SAME = {part: part for part in PARTS}
_MIXTRAL = Layout(
    "mixtral", "intermediate_size", "num_local_experts", "block_sparse_moe",
    {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"},
)  # fmt: skip
_QWEN = {"norm_topk_prob": True, "decoder_sparse_step": 1, "mlp_only_layers": []}
LAYOUTS: dict[str, Layout] = {
    "llama": _MIXTRAL,
    "mistral": _MIXTRAL,
    "qwen3": Layout("qwen3_moe", "moe_intermediate_size", "num_experts", "mlp", _SAME, _QWEN),
    "qwen2": Layout(
        "qwen2_moe", "moe_intermediate_size", "num_experts", "mlp", _SAME,
        # Its architecture has an expert for every token besides; one neuron of weight 0 is least.
        {**_QWEN, "shared_expert_intermediate_size": 1, "qkv_bias": True},
        {"shared_expert.gate_proj.weight": (1, "D"), "shared_expert.up_proj.weight": (1, "D"),
         "shared_expert.down_proj.weight": ("D", 1), "shared_expert_gate.weight": (1, "D")},
    ),
}  # fmt: skip
"""By ``model_type`` of the dense model."""


def layout_of(parent: Parent) -> Layout:
    """The layout that a dense model's family fits.

    Raises:
        InputError: it fits none.
    """
    kind = parent.config.model_type
    layout = LAYOUTS.get(kind)
    if layout is None:
        expected = f"one of {', '.join(LAYOUTS)}"
        raise InputError(Problem(parent.name, None, "model_type", f"found {kind!r}", expected))
    if kind.startswith("qwen") and getattr(parent.config, "sliding_window", None) is not None:
        found = "a sliding window of some layers"
        expected = f"none: {layout.kind} has it in all layers or in none"
        raise InputError(Problem(parent.name, None, "use_sliding_window", found, expected))
    return layout


Forward = dict[str, tuple[int, str]]
"""The layer and the part of each matrix of a dense feed-forward layer, by its name."""


def divide(parent: Parent, layout: Layout, config: Any) -> tuple[Forward, set[str]]:
    """A dense model's tensors: those of its feed-forward layers, and the names of those that all
    experts share.

    Raises:
        InputError: a matrix is missing, or the mixture has no place for a tensor.
    """
    matches = {name: _FFN.fullmatch(name) for name in parent.specs}
    forward = {
        name: (int(match["layer"]), match["part"])
        for name, match in matches.items() if match and match["part"] in PARTS
    }  # fmt: skip
    layers = range(parent.config.num_hidden_layers)
    missing = {(layer, part) for layer in layers for part in PARTS} - set(forward.values())
    problems = [
        Problem(parent.name, None, f"model.layers.{layer}.mlp.{part}.weight", "is missing")
        for layer, part in sorted(missing)
    ]
    shared = parent.specs.keys() - forward.keys()
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    there = {
        name: tuple(weight.shape) for name, weight in empty.named_parameters()
        if ".mlp." not in name
    }  # fmt: skip
    if parent.tied:
        there.pop(parent.head, None)
    for name in sorted(there.keys() | shared):
        mine = parent.specs[name].shape if name in parent.specs else None
        if mine != there.get(name):
            found = "is missing" if mine is None else f"has shape {list(mine)}"
            shape = list(there[name]) if name in there else "no such tensor"
            problems.append(Problem(parent.name, None, name, found, f"{layout.kind} has {shape}"))
    if problems:
        raise InputError(problems)
    return forward, set(shared)


def specs_of(parent: Parent, layout: Layout, forward: Forward, experts: int) -> dict[str, Spec]:
    """The tensors of a mixture by name, in the order in which they stand in the model."""
    found: dict[str, Spec] = {}
    dtype, hidden = parent.specs[parent.embedding].dtype, parent.config.hidden_size
    seen = set()
    for name, spec in parent.specs.items():
        if name not in forward:
            found[name] = spec
            continue
        layer, part = forward[name]
        if layer not in seen:
            seen.add(layer)
            found[layout.gate(layer)] = Spec(dtype, (experts, hidden))
            zeros = layout.zeros(layer, hidden)
            found |= {zero: Spec(dtype, shape) for zero, shape in zeros.items()}
        found |= {layout.expert(layer, number, part): spec for number in range(experts)}
    return found
