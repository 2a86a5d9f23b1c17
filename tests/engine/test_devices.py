from __future__ import annotations

import pytest
import torch

from burnish.config import InputError
from burnish.engine.devices import NAMES, find


def test_names_and_counts() -> None:
    device, count = find("8xh100")
    assert (device.name, count, device.dtype) == ("H100", 8, torch.bfloat16)
    assert device.usable == pytest.approx(0.9 * 80 * 2**30)
    assert find("A100-40GB")[1] == 1
    for name in set(NAMES) - {"cpu"}:
        assert find(f"2x{name}")[0].bandwidth > 5e11


def test_the_cpu_is_measured() -> None:
    device, count = find("cpu")
    assert (count, device.known, device.dtype) == (1, "measured now", torch.float32)
    assert 1e8 < device.bandwidth < 1e13
    assert 1e8 < device.flops < 1e15


@pytest.mark.parametrize("text", ["", "H1000", "0xH100", "2xcpu", "8 H100", "xH100"])
def test_what_is_no_device(text: str) -> None:
    with pytest.raises(InputError, match="8xH100"):
        find(text)
