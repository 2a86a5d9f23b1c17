from __future__ import annotations

import io

import pytest
from rich.console import Console

from burnish.engine import Progress, RichProgress, SilentProgress


def walk(board: Progress) -> None:
    with board.task("sft", 3) as outer:
        for _ in range(3):
            outer.advance(1, loss=1.23456, tokens=12345.6)
        with board.task("evaluate", None) as inner:
            inner.advance(7)


def fail(board: Progress) -> None:
    with board.task("dpo", 9) as bar:
        bar.advance(2)
        raise KeyError


def test_a_finished_bar_leaves_one_line() -> None:
    shown = io.StringIO()
    board = RichProgress(Console(file=shown, width=120))
    walk(board)
    with pytest.raises(KeyError):
        fail(board)
    lines = [line.rstrip() for line in shown.getvalue().splitlines() if line.strip()]
    finished = [line for line in lines if line[0] in "✓✗"]
    assert [line.split("  ")[0] for line in finished] == ["✓ evaluate", "✓ sft", "✗ dpo"]
    assert finished[1].startswith("✓ sft  3  loss 1.235  tokens 12,346  ")


def test_silence() -> None:
    walk(SilentProgress())
