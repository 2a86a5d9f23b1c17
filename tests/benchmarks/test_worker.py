"""Every line of the table still runs on burnish's side: the peer's side needs its environment."""

from __future__ import annotations

import math
from dataclasses import asdict

import pytest
from benchmarks.run import CORPUS
from benchmarks.workloads import chosen

from benchmarks import burnish_worker


@pytest.mark.parametrize("name", ["sft-lora", "dpo", "reward", "rollout", "grpo", "ppo"])
def test_a_workload_is_worth_something(name: str) -> None:
    (workload,) = chosen(name)
    job = {"workload": asdict(workload), "model": "burnish-tiny", "corpus": str(CORPUS)}
    losses = burnish_worker.check(job)["losses"]
    assert losses
    assert all(math.isfinite(loss) for loss in losses)
