from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests import tiny

from burnish.sampling.threads import SMALL, few_threads


@pytest.fixture
def two() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two")
def test_small_steps_take_one_thread_and_large_ones_all() -> None:
    model = tiny.model()
    config = model.config
    rows = SMALL // (config.hidden_size * config.intermediate_size)
    with few_threads(model, rows):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    with few_threads(model, rows + 1):
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two")
def test_threads_come_back_after_a_failure() -> None:
    with pytest.raises(RuntimeError, match="stop"), few_threads(tiny.model(), 1):
        raise RuntimeError("stop")
    assert torch.get_num_threads() == 2
