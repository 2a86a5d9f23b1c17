"""A model that no process holds whole (FSDP2): divided before it has weights, saved in pieces.

Each process holds some rows of every weight and reads only these. Layers are gathered one at a time
while they compute (Zhao et al. 2023, arXiv 2304.11277), what lies outside the layers (embeddings,
the last norm, the head) for a whole ``compute``.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import MethodType
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import safe_open
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from transformers import GenerationConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter

from burnish.models import adapters
from burnish.objectives.types import Loss
from burnish.store import atomic
from burnish.store.shards import INDEX, SINGLE, listed
from burnish.store.tensors import write_tensors

R = TypeVar("R")

FILE = 64 * 2**20
"""Bytes of one file of weights at most, where no tensor is larger."""


def several() -> bool:
    """Whether there are other processes to divide a model with."""
    return dist.is_initialized() and dist.get_world_size() > 1


def is_divided(model: nn.Module | None) -> bool:
    """Whether this process holds rows of the model's weights only."""
    return isinstance(model, FSDPModule)


def divide(model: nn.Module, device: torch.device) -> None:
    """Divide each layer's weights by rows, and those outside the layers together, in place."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    for module in [*layers(model), model]:
        fully_shard(module, mesh=mesh)
        part = cast(FSDPModule, module)
        # Gradients are summed: the engine divides them itself, once.
        part.set_gradient_divide_factor(1.0)
        part.set_force_sum_reduction_for_comms(True)
    model.inside = MethodType(_inside, model)  # type: ignore[assignment]
    register_fsdp_forward_method(model, "inside")


def _inside(model: nn.Module, function: Callable[..., R], args: tuple[Any, ...]) -> tuple[Any, R]:
    """The result, and beside it a loss's total, where FSDP looks for the tensor with gradients."""
    found = function(model, *args)
    return (found.total if isinstance(found, Loss) else None), found


def layers(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that are gathered one at a time."""
    kinds = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in kinds]


def compute(model: Any, function: Callable[..., R], *args: Any) -> R:
    """``function(model, *args)``, with what lies outside a divided model's layers gathered once.

    Of a divided model every process must make as many calls, and pass the layers as often in each.
    """
    if not is_divided(model):
        return function(model, *args)
    total, found = cast(tuple[Tensor | None, R], model.inside(function, args))
    backward = total is not None and total.requires_grad
    if not backward and any(weight.requires_grad for weight in model.parameters()):
        # A backward pass lets go of what was gathered; here it would outlive the next step.
        model.reshard()
    return found


def loadable(model: PreTrainedModel, folder: Path) -> bool:
    """Whether the files of ``folder`` hold the weights as ``model`` has them, name by name.

    Where transformers renames or converts weights as it reads them, only it can.

    Raises:
        CorruptError: its index is malformed, or names files outside of it.
    """
    if any(isinstance(one, WeightConverter) for one in get_model_conversion_mapping(model)):
        return False
    files = _files(folder)
    return all(files.keys() & names for names in _names(model).values())


def load(model: PreTrainedModel, folder: Path, device: torch.device) -> None:
    """Divide a model on the meta device and read this process's rows of its weights.

    A file is open for one tensor at a time: pages that are read would count as this process's
    memory until it is closed.

    Raises:
        ValueError: a weight has another shape in the files.
    """
    divide(model, device)
    files = _files(folder)
    for place, names in _names(model).items():
        name = next(name for name in names if name in files)
        _put(model, names, _rows(files[name], name, model.get_parameter_or_buffer(place)))
    for module in model.modules():
        unsaved = module._non_persistent_buffers_set
        for key in unsaved:
            module._buffers[key] = torch.empty_like(module._buffers[key], device=device)
        module._is_hf_initialized = not unsaved  # type: ignore[assignment]
    # Works out rotary angles and the like; whatever is marked as initialised stays as it is.
    model.initialize_weights()
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)


def _names(model: nn.Module) -> dict[str, list[str]]:
    """All names of each saved tensor, by the first: a tied weight has several."""
    found: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), []).append(name)
    return {names[0]: names for names in found.values()}


def _files(folder: Path) -> dict[str, Path]:
    """The file of each tensor; empty where there are no safetensors."""
    if files := listed(folder):
        return {name: folder / file for name, file in files.items()}
    if not (folder / SINGLE).is_file():
        return {}
    with safe_open(folder / SINGLE, "pt") as file:
        return dict.fromkeys(file.keys(), folder / SINGLE)


def _rows(path: Path, name: str, empty: Tensor) -> Tensor:
    """A tensor from a file, or of one that is divided this process's rows of it, as ``empty``."""
    with safe_open(path, "pt") as file:
        view = file.get_slice(name)
        if list(view.get_shape()) != list(empty.shape):
            found, wanted = view.get_shape(), list(empty.shape)
            raise ValueError(f"{name} has the shape {found} in {path.name}, the model {wanted}")
        if not isinstance(empty, DTensor):
            whole: Tensor = file.get_tensor(name)
            return whole.to(empty.dtype, copy=True)
        mesh, placements = empty.device_mesh, empty.placements
        shape, offset = compute_local_shape_and_global_offset(empty.shape, mesh, placements)
        rows = view[offset[0] : offset[0] + shape[0]]
        rows = rows.to(mesh.device_type, empty.dtype, copy=True)
    return DTensor.from_local(
        rows, mesh, placements, run_check=False, shape=empty.shape, stride=empty.stride()
    )


def _put(model: PreTrainedModel, names: list[str], tensor: Tensor) -> None:
    """Give the model a tensor that was read, under all of its names."""
    if isinstance(model.get_parameter_or_buffer(names[0]), nn.Parameter):
        tensor = nn.Parameter(tensor)
    tensor._is_hf_initialized = True  # type: ignore[attr-defined]
    for name in names:
        parent, _, key = name.rpartition(".")
        module = model.get_submodule(parent)
        table: Any = module._parameters if key in module._parameters else module._buffers
        table[key] = tensor


def write(model: PreTrainedModel, folder: Path | None) -> None:
    """Write a divided model, its adapter merged in, as transformers reads it; it stays as it is.

    Every process must call it; the first gives the folder. Tensors are gathered one at a time, and
    the first process keeps those of one file, ``FILE`` or as much as the largest tensor.

    Raises:
        StorageError: the disk is full or there is no permission.
    """
    tensors = adapters.unadapted(model)
    sizes = [weight.numel() * weight.element_size() for weight, _ in tensors.values()]
    outlines = {n: torch.empty_like(weight, device="meta") for n, (weight, _) in tensors.items()}
    plan = split_torch_state_dict_into_shards(outlines, max_shard_size=max(FILE, *sizes))
    for file, names in plan.filename_to_tensors.items():
        held: dict[str, Tensor] = {}
        for name in names:
            weight, layer = tensors[name]
            whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
            if folder is not None:
                held[name] = adapters.merged(whole.detach().cpu(), layer)
            del whole
        if folder is not None:
            write_tensors(folder / file, held)
    if folder is None:
        return
    if plan.is_sharded:
        atomic.write_json(
            folder / INDEX, {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        )
    _write_config(model, folder)


def _write_config(model: PreTrainedModel, folder: Path) -> None:
    config = deepcopy(model.config)
    config.architectures = [type(model).__name__.removeprefix("FSDP")]
    config.dtype = str(model.dtype).removeprefix("torch.")
    config.save_pretrained(folder)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(folder)
