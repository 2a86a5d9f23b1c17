"""Named tensors in safetensors files, the only binary form burnish reads or writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from burnish.store import atomic
from burnish.store.errors import CorruptError, storage_errors


def write_tensors(path: Path | str, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors (any device, shape and dtype) to a safetensors file.

    Tensors that share memory are each written in full. Call it inside ``atomic.new_folder``,
    which makes the file durable: the safetensors writer itself does not fsync.

    Raises:
        StorageError: disk full or no permission.
    """
    path = Path(path)
    plain: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage()
        if storage.data_ptr() in storages or storage.nbytes() != value.nbytes:
            value = value.clone()
        storages.add(value.untyped_storage().data_ptr())
        plain[name] = value
    atomic.fault_point("write tensors")
    with storage_errors(path):
        save_file(plain, path)


def read_tensors(path: Path | str) -> dict[str, Tensor]:
    """Read a safetensors file to CPU tensors by name.

    Raises:
        CorruptError: it is not a safetensors file, is cut short or malformed. Nothing in the
            file is ever executed; no other format is tried.
        StorageError: it cannot be read.
    """
    path = Path(path)
    with storage_errors(path):
        if not path.is_file():
            raise CorruptError(path, "is missing or not a file")
        try:
            tensors: dict[str, Tensor] = load_file(path)
        except (SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise CorruptError(path, f"is not a valid safetensors file ({error})") from None
    return tensors
