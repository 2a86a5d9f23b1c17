"""Loading and saving a divided model takes the memory that ``burnish plan`` says."""

from __future__ import annotations

import pytest

from benchmarks import sharded_memory


@pytest.mark.slow
def test_a_divided_model_is_never_whole_in_any_process() -> None:
    # 120 MiB: what FSDP and safetensors take for themselves would hide in less.
    smaller = {"hidden_size": 384, "intermediate_size": 1152, "num_attention_heads": 6}
    shape = {**sharded_memory.SHAPE, **smaller, "num_key_value_heads": 3}
    found = sharded_memory.compare(shape)
    assert found["same"]
    whole, estimate = found["estimated"]["whole"], found["estimated"]
    # The control: a single process holds all of it, and the measurement sees that.
    assert found["alone"]["loading"] > 0.9 * whole
    for one in found["divided"]:
        assert one["loading"] < 1.15 * estimate["loading"] < whole
    first, second = found["divided"]
    assert first["saving"] < 1.15 * estimate["saving"]
    assert second["saving"] < 0.75 * whole
