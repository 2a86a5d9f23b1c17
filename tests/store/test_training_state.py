from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from burnish.store.tensors import read_tensors, write_tensors
from burnish.store.training_state import (
    capture_rng,
    flatten_optimizer,
    restore_optimizer,
    restore_rng,
)


def make(lr: float | Tensor) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    groups = [
        {"params": list(model[0].parameters()), "weight_decay": 0.1},
        {"params": list(model[1].parameters()), "betas": (0.8, 0.99)},
    ]
    return model, torch.optim.AdamW(groups, lr=lr)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model(x).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("lr", [0.1 + 0.2, torch.tensor(0.01)])
def test_optimizer_survives_exactly(lr: float | Tensor, tmp_path: Path) -> None:  # R-07 partly
    model, optimizer = make(lr)
    for seed in range(3):
        step(model, optimizer, seed)
    tensors, state = flatten_optimizer(optimizer.state_dict())
    state = json.loads(json.dumps(state))
    write_tensors(tmp_path / "optimizer.safetensors", tensors)
    tensors = read_tensors(tmp_path / "optimizer.safetensors")

    before = optimizer.state_dict()
    after = restore_optimizer(tensors, state)
    assert after["param_groups"] == before["param_groups"]
    assert isinstance(after["param_groups"][1]["betas"], tuple)
    assert after["state"].keys() == before["state"].keys() == {0, 1, 2, 3}
    for index, values in before["state"].items():
        assert values.keys() == after["state"][index].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(values[k], after["state"][index][k]) for k in values)

    again, fresh = make(lr)
    again.load_state_dict(model.state_dict())
    fresh.load_state_dict(after)
    step(model, optimizer, 9)
    step(again, fresh, 9)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_unknown_state_is_refused() -> None:
    with pytest.raises(TypeError, match="holds a set"):
        flatten_optimizer({"state": {0: {"seen": {1}}}, "param_groups": []})


def draw() -> list[float]:
    return [random.random(), random.gauss(0, 1), float(np.random.rand()), float(np.random.randn()),
            float(torch.rand(())), float(torch.randn(()))]  # fmt: skip


def test_random_generators_continue() -> None:
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    random.gauss(0, 1)  # leaves a spare normal number inside both generators
    np.random.randn()
    tensors, state = capture_rng()
    state = json.loads(json.dumps(state))
    expected = [draw(), draw()]
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    assert draw() != expected[0]
    restore_rng(tensors, state)
    assert [draw(), draw()] == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_generator_continues() -> None:
    torch.cuda.manual_seed_all(1)
    tensors, state = capture_rng()
    expected = torch.rand(3, device="cuda")
    restore_rng(tensors, state)
    assert torch.equal(torch.rand(3, device="cuda"), expected)
