from __future__ import annotations

import pytest

from burnish.engine import TrainSettings
from burnish.engine.schedule import learning_rate


def rates(steps: int, **changes: object) -> list[float]:
    settings = TrainSettings(learning_rate=3e-4, **changes)
    return [learning_rate(step, steps, settings) for step in range(1, steps + 1)]


def test_cosine_with_warmup() -> None:
    # C-42: 3e-4 at the end of the warm-up, 1.65e-4 half way, 3e-5 at the end.
    found = rates(110, warmup=10 / 110, min_lr=0.1)
    assert found[0] == pytest.approx(3e-5)
    assert found[9] == pytest.approx(3e-4)
    assert found[59] == pytest.approx(1.65e-4)
    assert found[-1] == pytest.approx(3e-5)


def test_linear_constant_and_wsd() -> None:
    assert rates(4, schedule="linear", warmup=0, min_lr=0) == pytest.approx(
        [2.25e-4, 1.5e-4, 0.75e-4, 0]
    )
    assert rates(4, schedule="constant", warmup=0.5) == pytest.approx([1.5e-4, 3e-4, 3e-4, 3e-4])
    assert rates(5, schedule="wsd", warmup=0, decay=0.4, min_lr=0) == pytest.approx(
        [3e-4, 3e-4, 3e-4, 1.5e-4, 0]
    )


def test_all_warmup_and_one_step() -> None:
    assert rates(2, warmup=1) == pytest.approx([1.5e-4, 3e-4])
    assert rates(1, warmup=0, min_lr=0.1) == pytest.approx([3e-5])
    assert rates(3, schedule="wsd", warmup=0, decay=0) == pytest.approx([3e-4] * 3)
