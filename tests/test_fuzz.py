"""Hostile weights: named error or read, at once and in little memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests import fuzzing
from tests.exporting import models

from burnish.exporting import gguf_file
from burnish.store.tensors import write_tensors


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("fuzz")
    source = models.source("llama", folder)
    gguf_file.write_gguf(source.folder, source.words, "gpt-2", "f16", folder / "model.gguf")
    return (folder / "model.gguf").read_bytes()


def held(kind: str, file: Path, cases: int) -> None:
    found = fuzzing.run(kind, file, cases)
    assert found["refused"] + found["read"] == cases
    assert cases // 3 < found["refused"] < cases
    assert found["slowest"] < 1
    assert found["peak"] < fuzzing.ROOM


def test_damaged_gguf_files(gguf: bytes, tmp_path: Path) -> None:  # S-08
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf)
    held("gguf", file, 2000)


def test_damaged_safetensors_files(tmp_path: Path) -> None:  # S-08
    file = tmp_path / "model.safetensors"
    names = {f"layer.{at}": torch.arange(6.0).reshape(2, 3) for at in range(8)}
    write_tensors(file, {**names, "b": torch.ones(2, 2, dtype=torch.int32)})
    held("safetensors", file, 2000)
