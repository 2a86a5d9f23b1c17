from __future__ import annotations

import json
import os
import pickle
import struct
import time
from pathlib import Path

import pytest
import torch

from burnish.store.errors import CorruptError
from burnish.store.tensors import read_tensors, write_tensors


def header(content: object, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_round_trip_is_exact(tmp_path: Path) -> None:
    base = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    tensors = {
        "plain": base,
        "view": base[1:3, ::2],
        "tied": base,
        "transposed": base.T,
        "bfloat": base.to(torch.bfloat16),
        "step": torch.tensor(7.0),
        "none": torch.zeros(0, 3),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "flags": torch.tensor([True, False]),
        "odd": torch.tensor([float("nan"), float("inf"), -0.0]),
    }
    path = tmp_path / "x.safetensors"
    write_tensors(path, tensors)
    found = read_tensors(path)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert (
            found[name]
            .contiguous()
            .view(-1)
            .view(torch.uint8)
            .equal(tensor.contiguous().view(-1).view(torch.uint8))
        )


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
MALFORMED = {
    "empty": b"",
    "short": b"\1\0",
    "header longer than the file": struct.pack("<Q", 10**6) + b"{}",
    "header of 2**62 bytes": struct.pack("<Q", 2**62) + b"{}",
    "not JSON": header(b"{nope"),
    "a list": header([]),
    "count of 2**62": header({"a": {**F32, "shape": [2**62]}}, bytes(8)),
    "product overflows": header({"a": {**F32, "shape": [2**33, 2**33]}}, bytes(8)),
    "offsets beyond the end": header({"a": {**F32, "data_offsets": [0, 2**40]}}, bytes(8)),
    "offsets overlap": header({"a": F32, "b": F32}, bytes(8)),
    "offsets backwards": header({"a": {**F32, "data_offsets": [8, 0]}}, bytes(8)),
    "a hole": header({"a": {**F32, "data_offsets": [8, 16]}}, bytes(16)),
    "negative shape": header({"a": {**F32, "shape": [-2]}}, bytes(8)),
    "unknown dtype": header({"a": {**F32, "dtype": "EVIL"}}, bytes(8)),
    "size is not shape": header({"a": {**F32, "shape": [3]}}, bytes(8)),
    "data missing": header({"a": F32}, bytes(4)),
    "data left over": header({"a": F32}, bytes(12)),
    "depth": header(b'{"a":' * 10**4),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files(tmp_path: Path, name: str) -> None:  # S-08
    path = tmp_path / "x.safetensors"
    path.write_bytes(MALFORMED[name])
    started = time.monotonic()
    with pytest.raises(CorruptError, match=r"not a valid safetensors file"):
        read_tensors(path)
    assert time.monotonic() - started < 1


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("form", ["pickle", "torch", "torch legacy"])
def test_pickles_are_refused(tmp_path: Path, form: str) -> None:  # S-01
    canary, path = tmp_path / "canary", tmp_path / "x.safetensors"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Touch(canary)))
    else:
        torch.save({"a": Touch(canary)}, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(CorruptError):
        read_tensors(path)
    assert not canary.exists()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match="is missing"):
        read_tensors(tmp_path / "x.safetensors")
