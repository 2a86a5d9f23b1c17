"""The comparison with a peer, as far as it goes without the peer installed."""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module("oracle")


def own(case: Any, data: Any) -> dict[str, list[float]]:
    """Our side's numbers as the peer would send them."""
    values, leaves = case.ours(data)
    slopes = torch.autograd.grad(values.sum(), leaves) if leaves else ()
    gradient = [number for slope in slopes for number in slope.flatten().tolist()]
    return {"values": values.detach().flatten().tolist(), "gradient": gradient}


def test_every_case_can_agree_and_can_disagree(oracle: Any) -> None:
    data = json.loads(json.dumps(oracle.random_data(oracle.SEED)))
    for case in oracle.CASES:
        answer = own(case, data)
        assert all(map(math.isfinite, answer["values"] + answer["gradient"]))
        assert any(answer["values"])
        assert oracle.difference(case, data, answer) == 0
        answer["values"][-1] += 0.01
        assert oracle.difference(case, data, answer) == pytest.approx(0.01)
        answer["gradient"].append(0.0)
        assert oracle.difference(case, data, answer) == math.inf


def test_verdicts(oracle: Any) -> None:
    same = next(case for case in oracle.CASES if not case.another)
    other = next(case for case in oracle.CASES if case.another)
    assert oracle.verdict(same, 1e-12) == (True, "agrees")
    assert oracle.verdict(same, 1e-8) == (False, "DISAGREES")
    assert oracle.verdict(other, 2.0) == (True, other.another)
    for gap in (0.0, math.inf):
        right, text = oracle.verdict(other, gap)
        assert not right
        assert text.startswith("EXPECTED A DIFFERENCE")


def test_the_numbers_come_from_the_seed_and_the_pin_from_the_makefile(oracle: Any) -> None:
    assert oracle.random_data(1) == oracle.random_data(1) != oracle.random_data(2)
    peer = importlib.import_module("peer")
    assert f"TORCH ?= {peer.torch_pin()}\n" in (TOOLS.parent / "Makefile").read_text()
