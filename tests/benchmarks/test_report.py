"""The benchmark's pure parts: ratios, the table, kept notes, counted operations."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from benchmarks.data import Shape, forward_flops, sampling_flops
from benchmarks.report import Line, Measured, difference, page, ratio, table
from benchmarks.run import arguments
from benchmarks.worker import set_adapter, training_work
from benchmarks.workloads import WORKLOADS, chosen, from_json
from peft import LoraConfig, get_peft_model
from tests import tiny

from burnish.models import adapters
from burnish.models.adapters import LoraSettings


def run(tokens: int, cpu: float, wall: float = 1.0, flops: float = 0.0) -> Measured:
    return Measured(3, tokens, flops, wall, cpu, memory=200 * 2**20, gemm=1e11)


def test_ratio_is_of_medians_with_extremes_of_pairs() -> None:
    # Rates 30, 60, 40 (median 40) against 10, 10, 20 (median 10); pairs 3, 6, 2.
    ours = [run(30, 1), run(60, 1), run(80, 2)]
    theirs = [run(10, 1), run(20, 2), run(20, 1)]
    assert ratio(ours, theirs, "cpu") == (4.0, 2.0, 6.0)


def test_wall_ratio_uses_wall_time() -> None:
    assert ratio([run(30, 1, wall=3)], [run(10, 1, wall=2)], "wall")[0] == 2.0


def test_difference_is_relative_and_of_all_steps() -> None:
    assert difference([2.0, 1.0], [2.0, 1.001]) == pytest.approx(0.001 / 1.001)
    assert difference([0.0], [0.0]) == 0.0
    assert difference([1.0], [1.0, 1.0]) == math.inf
    assert difference([], []) == math.inf


def test_table() -> None:
    # 6e10 operations in 2 s are 3e10 a second, 0.3 of the peak of 1e11.
    ours, theirs = run(3000, 1.0, wall=2.0, flops=6e10), run(1000, 1.0, wall=1.0)
    measured = Line("tiny", "SFT", ((3.5, 3.0), (3.5, 3.0)), [ours], [theirs])
    failed = Line("tiny", "DPO", problem="not measured: losses differ")
    *_, first, second = table([measured, failed]).splitlines()
    assert first == (
        "| tiny | SFT | 3 (Δ 0e+00) | 3,000 | 1,000 | **3.00** (3.00–3.00) | 1.50 | 0.30 | – "
        "| 200 | 200 | 1.00 |"
    )
    assert second.startswith("| tiny | DPO | not measured: losses differ |")
    assert first.count("|") == second.count("|")


def test_a_line_without_a_peer() -> None:
    run = Measured(steps=3, tokens=600, flops=6e9, wall=1.0, cpu=2.0, memory=2**20, gemm=10e9)
    *_, row = table([Line("tiny", "PPO", burnish=[run])]).splitlines()
    assert row == "| tiny | PPO |  | 300 |  | no peer |  | 0.60 |  | 1 |  |  |"


def test_page_keeps_the_notes() -> None:
    first = page({"CPU": "one"}, [], "")
    assert "- CPU: one" in first
    written = first + "\nA quiet machine.\n"
    again = page({"CPU": "two"}, [], written)
    assert "- CPU: two" in again
    assert "one" not in again.partition("## Notes")[0]
    assert again.endswith("## Notes\n\nA quiet machine.\n")
    assert page({"CPU": "two"}, [], again) == again


def test_operations_of_sampling() -> None:
    # A prompt of 3 tokens once: 60 + 72. Replies of 1 and 2 tokens: 20 each token, head 20 each,
    # attention 8 * (16 - 9) and 8 * (25 - 9).
    size = Shape(body=10, sides=14, layers=1, attention=4, hidden=2, vocabulary=5)
    assert sampling_flops(size, [(3, 1), (3, 2)], [3]) == 132 + 3 * 40 + 8 * 7 + 8 * 16


def test_operations_of_a_forward_pass() -> None:
    # One layer of 10 parameters, width 2, vocabulary 5; 3 tokens of which 2 are scored:
    # 2*10*3 = 60, head 2*2*5*2 = 40, attention 2*1*4*9 = 72.
    size = Shape(body=10, sides=14, layers=1, attention=4, hidden=2, vocabulary=5)
    assert forward_flops(size, [(3, 2)]) == 172.0
    assert forward_flops(size, [(3, 2), (3, 2)]) == 344.0
    assert training_work(size, [(3, 2)]) == (3, 3 * 172.0)
    # LoRA of rank 5: 70 parameters, 2*70*3 = 420 a pass. Three passes of it and of attention, two
    # of what is frozen (60 + 40).
    assert training_work(size, [(3, 2)], rank=5) == (3, 3 * 420.0 + 3 * 72.0 + 2 * 100.0)


def test_both_sides_start_from_the_same_adapter() -> None:
    tokens = torch.tensor([[1, 9, 30, 77]])
    ours = adapters.attach(tiny.model(), LoraSettings(r=4, alpha=8))
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    theirs = get_peft_model(tiny.model(), config)
    with torch.no_grad():
        bare = ours(input_ids=tokens).logits
        for model in (ours, theirs):
            set_adapter(model)
        found = [model(input_ids=tokens).logits for model in (ours, theirs)]
    assert torch.equal(*found)
    assert (found[0] - bare).abs().max() > 0.01


def test_a_workload_survives_the_way_to_a_worker() -> None:
    for workload in WORKLOADS:
        assert from_json(json.loads(json.dumps(asdict(workload)))) == workload


def test_only() -> None:
    assert [w.name for w in chosen("reward,sft")] == ["sft", "reward"]
    with pytest.raises(ValueError, match="no workload sfd"):
        chosen("sft,sfd")


def test_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    args = arguments(["--only", "dpo", "--seconds", "3", "--out", "x.md"])
    assert ([w.name for w in args.workloads], args.seconds, args.out) == (
        ["dpo"],
        3.0,
        Path("x.md"),
    )
    with pytest.raises(SystemExit):
        arguments(["--only", "nothing"])
    assert "there are: sft, sft-plain" in capsys.readouterr().err
