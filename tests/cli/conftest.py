"""Run command lines in this process, as ``burnish`` would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from burnish.cli.main import invoke


@dataclass(frozen=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str


Burnish = Callable[..., Result]


@pytest.fixture
def burnish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Burnish:
    """``burnish("check", "x.yaml")`` in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / ".cache"))

    def call(*args: str) -> Result:
        capsys.readouterr()
        code = invoke(args)
        said = capsys.readouterr()
        return Result(code, said.out, said.err)

    return call
