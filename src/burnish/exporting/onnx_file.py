"""A model folder as one ONNX graph with its key-value cache, for onnxruntime.

transformers traces the graph and fuses it into onnxruntime's own operators. One graph serves the
prompt (an empty cache) and every further token. Rounded forms keep matrices in blocks of 32
(``MatMulNBits``), the head in 8 bits, and the embedding, of which one row a token is read, in
float16.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache

from burnish.config import InputError, Problem
from burnish.store.errors import storage_errors

BITS = {"fp32": None, "int8": 8, "int4": 4}
BLOCK = 32
_NOISY = (
    "torch", "torch.onnx", "torch._export", "torch.export", "onnxruntime", "onnxscript", "onnx_ir",
    "transformers",
)  # fmt: skip


def write_onnx(program: Any, precision: str, target: Path) -> None:
    """Write what ``traced`` made, rounded to ``precision``; weights go to ``<target>.data``.

    Raises:
        StorageError: the disk is full.
    """
    onnx_ir: Any = importlib.import_module("onnx_ir")
    bits = BITS[precision]
    with _quiet(), storage_errors(target):
        made = program if bits is None else _rounded(program, bits)
        onnx_ir.save(made, str(target), external_data=f"{target.name}.data")


def traced(folder: Path) -> Any:
    """The model in ``folder`` as an ``onnx_ir.Model`` in float32.

    Raises:
        InputError: an architecture that cannot be traced into one graph with a cache.
    """
    # With it comes all of onnxscript, which other forms have no use for.
    from transformers.exporters import OnnxConfig, OnnxExporter

    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, trust_remote_code=False, use_safetensors=True
    ).eval()
    # Two lengths unlike each other, and unlike 0 and 1, which the tracer takes for constants.
    before, new = 4, 3
    cache = DynamicCache(config=model.config)
    tokens = torch.arange(before + new)[None] % model.config.vocab_size
    with torch.no_grad():
        model(tokens[:, :before], past_key_values=cache, use_cache=True)
    given = {
        "input_ids": tokens[:, before:],
        "past_key_values": cache,
        "attention_mask": torch.ones_like(tokens),
        "position_ids": torch.arange(before, before + new)[None],
    }
    with _quiet():
        try:
            exported = OnnxExporter().export(
                model, given, config=OnnxConfig(dynamic=True, ort_fusions="cpu")
            )
        except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
            found = f"cannot be traced: {str(error).splitlines()[0]}"
            raise InputError(Problem(str(folder), None, "onnx", found)) from error
    return exported.program


def _rounded(program: Any, bits: int) -> Any:
    onnx_ir: Any = importlib.import_module("onnx_ir")
    quantizers: Any = importlib.import_module("onnxruntime.quantization.matmul_nbits_quantizer")
    proto = onnx_ir.to_proto(program)
    head = _open_head(proto.graph)
    _halve_embedding(proto.graph)
    others = [node.name for node in proto.graph.node if node.op_type == "MatMul"]
    others.remove(head)
    # What is named as included is rounded besides all others: the head alone needs exclusions.
    for width, left_out in ((8, others), (bits, [])):
        quantizer = quantizers.MatMulNBitsQuantizer(
            proto, bits=width, block_size=BLOCK, is_symmetric=True, nodes_to_exclude=left_out,
            accuracy_level=1,  # computed in float32: the others round activations too
        )  # fmt: skip
        quantizer.process()
        proto = quantizer.model.model
    _drop_unused(proto.graph)
    return onnx_ir.from_proto(proto)


def _open_head(graph: Any) -> str:
    """The head as a plain product with a matrix of its own, so that it can be rounded; its name.

    Tied to the embedding it is a product with the transposed embedding.
    """
    onnx: Any = importlib.import_module("onnx")
    for place, node in enumerate(graph.node):
        node.name = node.name or f"node_{place}"
    last = next(node for node in graph.node if graph.output[0].name in node.output)
    while "MatMul" not in last.op_type:
        last = next(node for node in graph.node if last.input[0] in node.output)
    if last.op_type == "MatMul":
        return str(last.name)
    weight = next(one for one in graph.initializer if one.name == last.input[1])
    turned = np.ascontiguousarray(onnx.numpy_helper.to_array(weight).T)
    graph.initializer.append(onnx.numpy_helper.from_array(turned, "head.weight"))
    plain = onnx.helper.make_node(
        "MatMul", [last.input[0], "head.weight"], list(last.output), name=last.name
    )
    last.CopyFrom(plain)
    return str(plain.name)


def _halve_embedding(graph: Any) -> None:
    """The embedding in float16; the rows that are read are made float32 again."""
    onnx: Any = importlib.import_module("onnx")
    place = next(at for at, n in enumerate(graph.node) if n.op_type == "Gather"
                 and n.input[1] == "input_ids")  # fmt: skip
    node = graph.node[place]
    weight = next(one for one in graph.initializer if one.name == node.input[0])
    half = onnx.numpy_helper.to_array(weight).astype(np.float16)
    graph.initializer.append(onnx.numpy_helper.from_array(half, "embedding.half"))
    (output,) = node.output
    node.input[0], node.output[0] = "embedding.half", "embedding.rows"
    cast = onnx.helper.make_node(
        "Cast", ["embedding.rows"], [output], name="embedding.cast", to=onnx.TensorProto.FLOAT
    )
    graph.node.insert(place + 1, cast)


def _drop_unused(graph: Any) -> None:
    used = {name for node in graph.node for name in node.input}
    for weight in [one for one in graph.initializer if one.name not in used]:
        graph.initializer.remove(weight)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep tracers from writing to the terminal."""
    loggers = [logging.getLogger(name) for name in _NOISY]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
