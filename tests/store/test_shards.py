from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from burnish.store.errors import CorruptError
from burnish.store.shards import INDEX, SINGLE, ShardReader, ShardWriter, Spec

TENSORS = {
    "half": torch.arange(6, dtype=torch.bfloat16).view(2, 3),
    "whole": torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),
    "count": torch.tensor(7),
    "none": torch.zeros(0, 3),
    "flags": torch.tensor([True, False]),
}
SPECS = {name: Spec(tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()}


def write(folder: Path, most: int, step: int = 3) -> None:
    with ShardWriter(folder, SPECS, most) as out:
        for name in out.order:
            for piece in TENSORS[name].view(-1).split(step):
                out.write(name, piece)


@pytest.mark.parametrize("most", [10**6, 90, 1])
def test_pieces_make_files_that_safetensors_reads(tmp_path: Path, most: int) -> None:
    write(tmp_path, most)
    found = {}
    for path in tmp_path.glob("*.safetensors"):
        found |= load_file(path)
    assert found.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].equal(tensor)
    assert (tmp_path / SINGLE).exists() == (most == 10**6)
    reader = ShardReader(tmp_path)
    assert reader.specs == SPECS
    assert reader.read("whole", 3, 9).equal(TENSORS["whole"].view(-1)[3:9])
    assert reader.read("none").shape == (0,)


def test_files_of_safetensors_are_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / SINGLE)
    reader = ShardReader(tmp_path)
    assert all(reader.read(n).view(SPECS[n].shape).equal(TENSORS[n]) for n in TENSORS)


def test_pieces_in_another_order_or_number_are_refused(tmp_path: Path) -> None:
    def writer() -> ShardWriter:
        return ShardWriter(tmp_path, SPECS, 9)

    with pytest.raises(ValueError, match="was not expected"), writer() as out:
        out.write("half", TENSORS["half"])
    with pytest.raises(ValueError, match="missing"), writer() as out:
        out.write(out.order[0], TENSORS[out.order[0]])


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def header(content: object, data: bytes = b"") -> bytes:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\1\0", struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 10**6) + b"{}",
        header(b"{nope"), header([]), header({"a": {**F32, "shape": [2**62]}}, bytes(8)),
        header({"a": F32, "b": F32}, bytes(8)), header({"a": F32}, bytes(4)),
        header(b'{"a":' * 10**4),
    ],
)  # fmt: skip
def test_malformed_files_are_refused_at_once(tmp_path: Path, content: bytes) -> None:  # S-08
    (tmp_path / SINGLE).write_bytes(content)
    started = time.monotonic()
    with pytest.raises(CorruptError, match="not a valid safetensors file"):
        ShardReader(tmp_path)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("index", "found"),
    [
        ({"weight_map": {"a": "../model.safetensors"}}, "outside the folder"),
        ({"weight_map": {"a": "/etc/x.safetensors"}}, "outside the folder"),
        ({"weight_map": {"a": "model.bin"}}, "damaged"),
        ({"weight_map": ["a"]}, "damaged"),
        ([], "damaged"),
        ({"weight_map": {"half": SINGLE, "lost": SINGLE}}, "missing, such as lost"),
        ({"weight_map": {"half": "other.safetensors"}}, "is missing"),
    ],
)
def test_indices_that_lie_are_refused(tmp_path: Path, index: object, found: str) -> None:  # S-08
    save_file(TENSORS, tmp_path / SINGLE)
    (tmp_path / INDEX).write_text(json.dumps(index))
    with pytest.raises(CorruptError, match=found):
        ShardReader(tmp_path)


def test_a_file_cut_short_later_is_noticed(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / SINGLE)
    reader = ShardReader(tmp_path)
    path = tmp_path / SINGLE
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(CorruptError, match="ended inside"):
        [reader.read(name) for name in TENSORS]
