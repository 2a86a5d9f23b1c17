"""The Python of docs/seed.md runs from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGE = ROOT / "docs" / "seed.md"


def test_the_four_names_are_walked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        exec(compile(block, PAGE.name, "exec"), names)
    said = capsys.readouterr().out
    assert "n=20" in said
    made = names["training"].made  # type: ignore[attr-defined]
    assert list(made) == ["fit.pretrain", "fit.sft", "fit.dpo", "safety", "fit.ppo"]
    assert all((one.folder / "model.safetensors").is_file() for one in made.values())
