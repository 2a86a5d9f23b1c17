"""A model folder as one GGUF file for llama.cpp, written a tensor at a time.

Architectures whose computation llama.cpp shares: Llama (and Mistral without a sliding window),
Qwen2, Qwen3. llama.cpp turns neighbouring elements of a head in its rotary embedding for Llama,
transformers the two halves, so that rows of q and k change places there.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, LlamaFileType
from transformers import AutoConfig

from burnish.config import InputError, Problem
from burnish.exporting.gguf_words import Words, add_words
from burnish.store.errors import CorruptError, storage_errors
from burnish.store.shards import ShardReader

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_PLAIN = (None, "default")
_TYPES = {
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
    "q6_k": (GGMLQuantizationType.Q6_K, LlamaFileType.MOSTLY_Q6_K),
    "q5_k": (GGMLQuantizationType.Q5_K, LlamaFileType.MOSTLY_Q5_K_S),
    "q4_k": (GGMLQuantizationType.Q4_K, LlamaFileType.MOSTLY_Q4_K_S),
    "q4_0": (GGMLQuantizationType.Q4_0, LlamaFileType.MOSTLY_Q4_0),
}
_FINER = {"q4_k": "q6_k", "q5_k": "q6_k", "q4_0": "q8_0"}
"""What embeddings and head are kept in: their errors reach every token directly."""
_WIDER = {
    GGMLQuantizationType.Q4_K: GGMLQuantizationType.Q5_0,
    GGMLQuantizationType.Q5_K: GGMLQuantizationType.Q5_1,
    GGMLQuantizationType.Q6_K: GGMLQuantizationType.Q8_0,
}
"""What llama.cpp's own tool takes for rows that are no multiple of 256."""
_WHOLE = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_PARTS = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")


def read_config(folder: Path) -> Any:
    """The model's config, checked for what llama.cpp computes the same way.

    Raises:
        InputError: an architecture, rotary scaling or activation that would come out wrong.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    rope = getattr(config, "rope_parameters", None) or {}
    window = getattr(config, "sliding_window", None)
    if not getattr(config, "use_sliding_window", True):
        window = None
    checks = {
        "model_type": (config.model_type, config.model_type in ARCHITECTURES),
        "rope_parameters.rope_type": (rope.get("rope_type"), rope.get("rope_type") in _PLAIN),
        "hidden_act": (config.hidden_act, config.hidden_act == "silu"),
        "sliding_window": (window, not window or window >= config.max_position_embeddings),
    }
    known = f"one of {', '.join(ARCHITECTURES)} with plain rotary embeddings"
    problems = [
        Problem(str(folder / "config.json"), None, field, f"{found!r} cannot be exported", known)
        for field, (found, fine) in checks.items()
        if not fine
    ]
    if problems:
        raise InputError(problems)
    return config


def write_gguf(
    folder: Path, words: Words, pattern: str, precision: str, target: Path
) -> dict[str, int]:
    """Write the model in ``folder`` to the file ``target``; matrices in ``precision``.

    Vectors (norms, biases) stay in float32. With a tied head there is one matrix for both.

    Returns:
        How many tensors were written in each type of llama.cpp.

    Raises:
        InputError: an architecture that is not known.
        CorruptError: the weights are damaged, or not those of this architecture.
        StorageError: the disk is full.
    """
    libgguf: Any = importlib.import_module("libgguf")
    config = read_config(folder)
    reader = ShardReader(folder)
    names = _names(reader, config)
    kinds = {name: _kind(reader, name, short, precision) for name, short in names.items()}
    writer = GGUFWriter(None, ARCHITECTURES[config.model_type])
    _add_config(writer, config, folder.name, _TYPES[precision][1])
    add_words(writer, words, pattern)
    for name, short in names.items():
        shape, kind = reader.specs[name].shape, kinds[name]
        size = int(np.prod(shape[:-1], dtype=np.int64)) * libgguf.row_size(kind, shape[-1])
        # Types and sizes of encoded rows; shapes are the elements', as the header has them.
        writer.add_tensor_info(short, shape, np.dtype(np.float32), size, raw_dtype=kind)
    with storage_errors(target):
        writer.write_header_to_file(target)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for encoded in _encoded(reader, names, kinds, config):
            writer.write_tensor_data(encoded)
        writer.close()
    return dict(Counter(kind.name for kind in kinds.values()))


def write_trial(words: Words, pattern: str, target: Path) -> None:
    """A file with the vocabulary and a model of almost no size, to try how llama.cpp cuts text."""
    writer = GGUFWriter(target, "llama")
    width = 32
    for add, value in (
        (writer.add_context_length, 4096), (writer.add_embedding_length, width),
        (writer.add_block_count, 1), (writer.add_feed_forward_length, width),
        (writer.add_head_count, 1), (writer.add_head_count_kv, 1),
        (writer.add_vocab_size, len(words.tokens)),
    ):  # fmt: skip
        add(value)
    writer.add_layer_norm_rms_eps(1e-5)
    add_words(writer, words, pattern)
    shapes = {"token_embd": (len(words.tokens), width), "output_norm": (width,)}
    shapes |= {f"blk.0.{name}": (width, width) for name in _PARTS.values() if "norm" not in name}
    shapes |= {f"blk.0.{name}": (width,) for name in ("attn_norm", "ffn_norm")}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.zeros(shape, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _names(reader: ShardReader, config: Any) -> dict[str, str]:
    """llama.cpp's names of the tensors, in the file's order; a tied head is left out."""
    found = {}
    for name in reader.specs:
        layer = _LAYER.fullmatch(name)
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue  # transformers computes with the embedding, whatever lies here
        if layer is not None and layer[2] in _PARTS:
            found[name] = f"blk.{layer[1]}.{_PARTS[layer[2]]}.{layer[3]}"
        elif name in _WHOLE:
            found[name] = _WHOLE[name]
        else:
            raise CorruptError(reader.folder, f"{name} has no place in a {config.model_type} model")
    heads = [] if config.tie_word_embeddings else ["lm_head.weight"]
    needed = ["model.embed_tokens.weight", "model.norm.weight", *heads]
    needed += [
        f"model.layers.{index}.{part}.weight"
        for index in range(config.num_hidden_layers)
        for part in _PARTS
        if part.split(".")[-1] not in ("q_norm", "k_norm") or config.model_type == "qwen3"
    ]
    missing = [name for name in needed if name not in found]
    if missing:
        raise CorruptError(reader.folder, f"{len(missing)} tensors missing, such as {missing[0]}")
    return found


def _kind(reader: ShardReader, name: str, short: str, precision: str) -> GGMLQuantizationType:
    """Vectors whole; else the precision, or the next finer type whose blocks divide the rows."""
    shape = reader.specs[name].shape
    if len(shape) == 1:
        return GGMLQuantizationType.F32
    outer = short in ("token_embd.weight", "output.weight")
    wanted = _TYPES[_FINER.get(precision, precision) if outer else precision][0]
    libgguf: Any = importlib.import_module("libgguf")
    fitting = (
        kind for kind in (wanted, _WIDER.get(wanted)) if kind and libgguf.row_size(kind, shape[-1])
    )
    return next(fitting, GGMLQuantizationType.F16)


def _add_config(writer: GGUFWriter, config: Any, name: str, kind: LlamaFileType) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    writer.add_name(name)
    writer.add_file_type(kind)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(float(rope.get("rope_theta", 10000.0)))
    writer.add_vocab_size(config.vocab_size)


def _encoded(
    reader: ShardReader,
    names: dict[str, str],
    kinds: dict[str, GGMLQuantizationType],
    config: Any,
) -> Iterator[np.ndarray[Any, Any]]:
    libgguf: Any = importlib.import_module("libgguf")
    turned = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for name, short in names.items():
        values = reader.read(name).to(torch.float32).reshape(reader.specs[name].shape)
        heads = turned.get(short.split(".")[-2]) if config.model_type in ("llama", "mistral") else 0
        if heads:
            values = interleaved(values, heads)
        rows = np.ascontiguousarray(values.numpy())
        if kinds[name] == GGMLQuantizationType.F32:
            yield rows
        else:
            yield libgguf.quantize_rows(rows, kinds[name])


def interleaved(values: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows ``[heads * D, ...]`` of q or k: element ``i`` of a head's first half beside ``i`` of
    its second, the order in which llama.cpp rotates pairs."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.transpose(1, 2).reshape(values.shape)
