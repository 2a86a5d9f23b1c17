"""Optimiser and random-number state as tensors and JSON, exact in both directions."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Tensors = dict[str, Tensor]
State = dict[str, Any]


def flatten_optimizer(state_dict: Mapping[str, Any]) -> tuple[Tensors, State]:
    """Split a torch optimiser's ``state_dict()`` into named tensors and JSON.

    Args:
        state_dict: of AdamW or any optimiser whose state holds tensors, numbers, strings and
            (nested) tuples and lists of these.

    Returns:
        ``({"state.0.exp_avg": Tensor, "group.0.lr": Tensor, ...}, json)``; ``restore_optimizer``
        turns them back.

    Raises:
        TypeError: a value is of another type and would not survive.
    """
    tensors: Tensors = {}
    state = {
        str(index): _split(values, f"state.{index}.", tensors)
        for index, values in state_dict["state"].items()
    }
    groups = [
        _split(group, f"group.{index}.", tensors)
        for index, group in enumerate(state_dict["param_groups"])
    ]
    return tensors, {"state": state, "param_groups": groups}


def restore_optimizer(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> State:
    """The ``state_dict`` that ``flatten_optimizer`` was given, for ``load_state_dict``."""
    return {
        "state": {int(index): _join(values, tensors) for index, values in state["state"].items()},
        "param_groups": [_join(group, tensors) for group in state["param_groups"]],
    }


def _split(values: Mapping[str, Any], prefix: str, tensors: Tensors) -> State:
    plain: State = {}
    for name, value in values.items():
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
            plain[name] = {"tensor": prefix + name}
        else:
            plain[name] = {"value": _to_json(value)}
    return plain


def _join(plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> State:
    return {
        name: tensors[entry["tensor"]] if "tensor" in entry else _from_json(entry["value"])
        for name, entry in plain.items()
    }


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return {"tuple": [_to_json(item) for item in value]}
    if isinstance(value, list):
        return [_to_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"optimiser state holds a {type(value).__name__}, which cannot be saved")


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple(_from_json(item) for item in value["tuple"])
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return value


def capture_rng() -> tuple[Tensors, State]:
    """The state of the random generators of Python, numpy and torch (CPU and every CUDA device).

    Returns:
        tensors ``torch_cpu [n] uint8`` and ``torch_cuda_<device> [n] uint8``, and JSON for the
        other two. Take it as the last thing before saving: drawing a number changes it.
    """
    tensors = {"torch_cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        for device, value in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"torch_cuda_{device}"] = value
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    return tensors, {
        "python": [version, list(words), gauss],
        "numpy": {
            "bit_generator": numpy["bit_generator"],
            "key": [int(word) for word in numpy["state"]["key"]],
            "pos": int(numpy["state"]["pos"]),
            "has_gauss": int(numpy["has_gauss"]),
            "gauss": float(numpy["gauss"]),
        },
    }


def restore_rng(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Set the random generators to what ``capture_rng`` saw.

    Do this last when resuming: building a data iterator after it may draw a number. States of
    CUDA devices that this machine lacks are left out, since nothing here can draw from them.
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    numpy = state["numpy"]
    np.random.set_state(
        (
            numpy["bit_generator"],
            np.array(numpy["key"], dtype=np.uint32),
            numpy["pos"],
            numpy["has_gauss"],
            numpy["gauss"],
        )
    )
    torch.set_rng_state(tensors["torch_cpu"])
    for device in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        if f"torch_cuda_{device}" in tensors:
            torch.cuda.set_rng_state(tensors[f"torch_cuda_{device}"], device)
