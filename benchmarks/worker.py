"""What both workers share: one JSON job on stdin, one JSON answer on stdout, a clock."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.data import SEED, Shape, attention_flops, forward_flops
from benchmarks.workloads import Workload

WARM_UP = 2
"""Steps that are not measured."""
LEAST_STEPS = 3
MOST_STEPS = 2000
CHECK_STEPS = 2
"""The second step of a check sees the weights that the first one made."""
RATE = 1e-5
"""Learning rate: small enough for every objective, large enough to show after one step."""
LORA_RATE = 1e-3
GEMM_SIZE = 2048


@dataclass
class Clock:
    """Marks the boundaries of steps, and says when enough was measured."""

    seconds: float
    marks: list[tuple[float, float]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    flops: list[float] = field(default_factory=list)
    memory: int = 0

    def start(self) -> None:
        """The first step begins."""
        self.marks.append((time.perf_counter(), time.process_time()))

    def mark(self, tokens: int, flops: float = 0.0) -> None:
        """A step ended that computed so many useful tokens and needed so many operations."""
        self.marks.append((time.perf_counter(), time.process_time()))
        self.tokens.append(tokens)
        self.flops.append(flops)
        self.memory = peak_memory()

    @property
    def done(self) -> bool:
        """Enough steps and enough seconds after the warm-up."""
        steps = len(self.tokens) - WARM_UP
        if steps < LEAST_STEPS:
            return False
        return self.marks[-1][0] - self.marks[WARM_UP][0] >= self.seconds

    def totals(self) -> dict[str, float]:
        """Steps, useful tokens, operations, wall and CPU seconds after the warm-up."""
        first, last = self.marks[WARM_UP], self.marks[-1]
        return {
            "steps": len(self.tokens) - WARM_UP,
            "tokens": sum(self.tokens[WARM_UP:]),
            "flops": sum(self.flops[WARM_UP:]),
            "wall": last[0] - first[0],
            "cpu": last[1] - first[1],
        }


def training_work(
    size: Shape, sequences: Sequence[tuple[int, int]], passes: int = 3, rank: int = 0
) -> tuple[int, float]:
    """Useful tokens and operations of one step; backward costs two forward passes.

    With LoRA of this ``rank`` it costs one for frozen matrices, which need no gradient of their
    own; for attention, which multiplies no weights, and for LoRA's matrices it still costs two.
    """
    tokens = sum(length for length, _ in sequences)
    total = passes * forward_flops(size, sequences)
    if rank:
        total -= forward_flops(size, sequences) - attention_flops(size, sequences)
        total += passes * 2.0 * rank * size.sides * tokens
    return tokens, total


def peak_memory() -> int:
    """The largest resident size of this process so far, in bytes (VmHWM)."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell the peak memory of a process")


def peak_gemm(seconds: float = 1.0) -> float:
    """The best rate of a large float32 matrix product, in operations a second."""
    left, right = torch.randn(GEMM_SIZE, GEMM_SIZE), torch.randn(GEMM_SIZE, GEMM_SIZE)
    left @ right
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        began = time.perf_counter()
        left @ right
        best = max(best, 2.0 * GEMM_SIZE**3 / (time.perf_counter() - began))
    return best


def main(jobs: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]], packages: str) -> None:
    """Answer the one job on stdin. What libraries print goes to stderr."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.read())
    found = jobs[job["do"]](job)
    found["versions"] = {name: version(name) for name in packages.split()}
    answer.write(json.dumps(found) + "\n")
    answer.close()


def timed(clock: Clock) -> dict[str, Any]:
    """The answer to a measurement. Memory is that of the steps, not of what comes after them."""
    return clock.totals() | {"memory": clock.memory, "gemm": peak_gemm()}


def rate(workload: Workload) -> float:
    """The learning rate. An adapter has few weights: a small one would not show in two steps."""
    return LORA_RATE if workload.rank else RATE


def set_adapter(model: torch.nn.Module) -> None:
    """Give a LoRA adapter the same weights on both sides, whatever peft called its layers.

    B is not zero, as it is in a fresh adapter: the gradient of A would be, and the first loss
    would say nothing of the adapter.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if ".lora_" in name]
    named.sort(key=lambda pair: pair[0].removeprefix("base_model.model."))
    draw = torch.Generator().manual_seed(SEED)
    for name, weight in named:
        scale = weight.shape[1] ** -0.5 if ".lora_A." in name else 0.02
        weight.data.copy_(torch.randn(weight.shape, generator=draw) * scale)


def head_weights(width: int) -> torch.Tensor:
    """``[1, D]``: what the head of both reward models starts from."""
    return torch.randn(1, width, generator=torch.Generator().manual_seed(SEED)) * 0.02
