"""Tensors of a model folder read and written piece by piece, so that no model is ever in memory.

Files are read with plain reads, not mapped: mapped pages count as memory for as long as nobody
else wants it, and a merge would seem to hold its models.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from burnish.store import atomic
from burnish.store.errors import CorruptError, storage_errors

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True)
class Spec:
    """What a tensor is, without its numbers."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What they take in a file."""
        return self.size * self.dtype.itemsize


class ShardReader:
    """The tensors of a model folder: one ``model.safetensors``, or shards with an index.

    Only headers are read at first. ``specs`` has every tensor by name.

    Raises:
        CorruptError: a file is missing, cut short, malformed, or of a dtype that is not known; a
            tensor is in two files; the index names a file outside the folder, or one that has not
            what it says.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.specs: dict[str, Spec] = {}
        self._places: dict[str, tuple[Path, int]] = {}
        files = listed(self.folder)
        for name in dict.fromkeys(files.values()) if files else [SINGLE]:
            self._scan(self.folder / name)
        missing = sorted(set(files) - set(self.specs))
        if missing:
            raise CorruptError(
                self.folder / INDEX, f"{len(missing)} tensors are missing, such as {missing[0]}"
            )

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Elements ``start`` to ``stop`` of a tensor, flat and in its own dtype."""
        spec = self.specs[name]
        path, offset = self._places[name]
        width = spec.dtype.itemsize
        last = spec.size if stop is None else stop
        piece = torch.empty(last - start, dtype=spec.dtype)
        with storage_errors(path), path.open("rb", buffering=0) as file:
            file.seek(offset + start * width)
            room = piece.view(torch.uint8).numpy().data
            while room:
                count = file.readinto(room)
                if not count:
                    raise CorruptError(path, f"ended inside {name}")
                room = room[count:]
        return piece

    def _scan(self, path: Path) -> None:
        header, begin = _header(path)
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if name in self.specs:
                raise CorruptError(path, f"{name} is in another file too")
            if entry["dtype"] not in _DTYPES:
                raise CorruptError(path, f"{name} has the dtype {entry['dtype']}, which is unknown")
            self.specs[name] = Spec(_DTYPES[entry["dtype"]], tuple(entry["shape"]))
            self._places[name] = (path, begin + entry["data_offsets"][0])


def listed(folder: Path) -> dict[str, str]:
    """File by tensor as the index says; nothing where there is one file.

    Raises:
        CorruptError: the index is malformed, or names a file outside the folder.
    """
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        files = json.loads(path.read_bytes())["weight_map"]
        plain = isinstance(files, dict) and all(
            isinstance(file, str) and file.endswith(".safetensors") and Path(file).name == file
            for file in files.values()
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        plain = False
    if not plain:
        raise CorruptError(path, "is damaged, or names files outside the folder")
    return dict(files)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """A file's header, checked against its size by safetensors itself, and where data begin."""
    with storage_errors(path):
        if not path.is_file():
            raise CorruptError(path, "is missing or not a file")
        try:
            with safe_open(path, framework="pt"):
                pass
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header: dict[str, Any] = json.loads(file.read(length))
        except (SafetensorError, ValueError, RuntimeError, RecursionError) as error:
            raise CorruptError(path, f"is not a valid safetensors file ({error})") from None
    return header, 8 + length


class ShardWriter:
    """Writes tensors in pieces, in the order of ``specs``, in files of about ``most`` bytes.

    Call it inside ``atomic.new_folder``, which makes the files durable.

    Raises:
        StorageError: disk full or no permission.
        ValueError: pieces came in another order or number than ``specs`` says.
    """

    def __init__(self, folder: Path, specs: Mapping[str, Spec], most: int) -> None:
        # Wide dtypes first: then every tensor starts at a multiple of its own width.
        order = sorted(specs, key=lambda name: -specs[name].dtype.itemsize)
        self.order = tuple(order)
        self._specs, self._shards = specs, _divided(order, specs, most)
        self._folder, self._left = folder, list(order)
        self._starts = {shard[0]: at for at, shard in enumerate(self._shards)}
        self._file: BinaryIO | None = None
        self._due = 0

    def __enter__(self) -> ShardWriter:
        return self

    def write(self, name: str, piece: Tensor) -> None:
        """The next elements of the tensor ``name``, flat or not; cast to its dtype."""
        if piece.numel() == 0:
            return
        while self._due == 0 and self._left:
            self._begin(self._left.pop(0))
        value = piece.detach().to(self._specs[name].dtype).contiguous().view(-1)
        if name != self._name or value.nbytes > self._due:
            raise ValueError(f"{name} was not expected here, but {self._due} bytes of {self._name}")
        assert self._file is not None
        with storage_errors(self._folder):
            self._file.write(value.view(torch.uint8).numpy().data)
        self._due -= value.nbytes

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while kind is None and self._due == 0 and self._left:
            self._begin(self._left.pop(0))  # tensors without numbers, at the end
        if self._file is not None:
            with storage_errors(self._folder):
                self._file.close()
        if kind is not None:
            return
        if self._due or self._left:
            raise ValueError(f"{1 + len(self._left)} tensors are missing, from {self._name} on")
        if len(self._shards) > 1:
            files = {n: self._path(at).name for at, shard in enumerate(self._shards) for n in shard}
            total = sum(spec.bytes for spec in self._specs.values())
            index = {"metadata": {"total_size": total}, "weight_map": files}
            atomic.write_json(self._folder / INDEX, index)

    def _begin(self, name: str) -> None:
        """Open the shard that ``name`` is the first of, and expect its pieces."""
        atomic.fault_point("write tensors")
        self._name, self._due = name, self._specs[name].bytes
        at = self._starts.get(name)
        if at is None:
            return
        with storage_errors(self._folder):
            if self._file is not None:
                self._file.close()
            self._file = self._path(at).open("wb")
            self._file.write(_encoded(self._shards[at], self._specs))

    def _path(self, at: int) -> Path:
        count = len(self._shards)
        single = f"model-{at + 1:05d}-of-{count:05d}.safetensors"
        return self._folder / (SINGLE if count == 1 else single)


def _divided(order: Iterable[str], specs: Mapping[str, Spec], most: int) -> list[list[str]]:
    shards: list[list[str]] = []
    room = 0
    for name in order:
        if not shards or specs[name].bytes > room:
            shards.append([])
            room = most
        shards[-1].append(name)
        room -= specs[name].bytes
    return shards


def _encoded(names: Iterable[str], specs: Mapping[str, Spec]) -> bytes:
    """The header of a safetensors file that holds these tensors, one behind the other."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in names:
        spec = specs[name]
        header[name] = {
            "dtype": _NAMES[spec.dtype], "shape": list(spec.shape),
            "data_offsets": [at, at + spec.bytes],
        }  # fmt: skip
        at += spec.bytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
