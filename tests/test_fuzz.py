"""Hostile weights: named error or read, at once and in little memory."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from tests import fuzzing
from tests.exporting import models

from burnish.config import InputError
from burnish.exporting import gguf_file
from burnish.exporting.gguf_facts import check_file
from burnish.exporting.process import RuntimeProcess
from burnish.store.errors import CorruptError
from burnish.store.tensors import write_tensors

MANY = [300, pytest.param(2000, marks=pytest.mark.slow)]


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


@pytest.mark.parametrize("cases", MANY)
def test_damaged_gguf_files(gguf: bytes, cases: int, tmp_path: Path) -> None:  # S-08
    file = tmp_path / "model.gguf"
    file.write_bytes(gguf)
    held("gguf", file, cases)


@pytest.mark.parametrize("cases", [6, pytest.param(80, marks=pytest.mark.slow)])
def test_what_the_check_lets_through_is_no_harm(
    gguf: bytes, cases: int, tmp_path: Path
) -> None:  # S-08
    """llama.cpp refuses it in its own process, or computes with it; either in little memory."""
    file, most = tmp_path / "model.gguf", 0
    # The first is a token that is there twice, of which llama.cpp dies.
    twice = gguf.replace(b"\x01\0\0\0\0\0\0\0b", b"\x01\0\0\0\0\0\0\0a", 1)
    assert twice != gguf
    for case in islice(let_through([twice, *fuzzing.damaged(gguf, 50 * cases, 7)], file), cases):
        file.write_bytes(case)
        began = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        try:
            with RuntimeProcess("gguf", file, 64, 1) as runtime:
                assert case != twice
                runtime.score([1, 5, 6])
                most = max(most, runtime.peak - runtime.baseline)
        except InputError:
            pass
        assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - began < 3
    assert 0 < most < fuzzing.ROOM


def let_through(cases: Iterable[bytes], file: Path) -> Iterator[bytes]:
    """The cases that are whole to ``check_file``."""
    for case in cases:
        file.write_bytes(case)
        try:
            check_file(file)
        except CorruptError:
            continue
        yield case


@pytest.mark.parametrize("cases", MANY)
def test_damaged_safetensors_files(cases: int, tmp_path: Path) -> None:  # S-08
    file = tmp_path / "model.safetensors"
    names = {f"layer.{at}": torch.arange(6.0).reshape(2, 3) for at in range(8)}
    write_tensors(file, {**names, "b": torch.ones(2, 2, dtype=torch.int32)})
    held("safetensors", file, cases)
