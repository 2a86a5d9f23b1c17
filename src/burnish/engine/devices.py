"""What a device has: memory, arithmetic and bandwidth."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from burnish.config import InputError, Problem

GIB = 2**30
USABLE, USABLE_CPU = 0.9, 0.6
"""Share of a device's memory to plan with; an assumption. The rest is the driver's, the kernels'
and lost between tensors; on a CPU also other programs', and freed memory that burnish keeps."""
UTILISATION = 0.4
"""Share of the peak that a training step reaches. An assumption: Llama 3 reports 38 to 43 % on
H100 (arXiv 2407.21783, table 4); models below a billion parameters reach less on a GPU."""
GEMM_SIZE = 1024


@dataclass(frozen=True)
class Device:
    """``memory`` in bytes, ``flops`` a second in the data type that burnish computes in there
    (``models.load.pick_dtype``), ``bandwidth`` of its memory in bytes a second; ``known`` says
    where the figures are from."""

    name: str
    memory: float
    flops: float
    bandwidth: float
    dtype: torch.dtype
    known: str
    share: float = USABLE

    @property
    def usable(self) -> float:
        """Bytes to plan with."""
        return self.share * self.memory


# Dense bfloat16 with float32 accumulation and no sparsity; SXM boards where there are several.
# NVIDIA's data sheets: A100 (2021), H100 (2023), H200 (2023), L40S (2023), DGX B200 (2024, an
# eighth of the system); Ada GPU architecture whitepaper (2022, RTX 4090, appendix A).
_SHEETS = {
    "A100-40GB": (40, 312e12, 1.555e12),
    "A100-80GB": (80, 312e12, 2.039e12),
    "H100": (80, 989e12, 3.35e12),
    "H200": (141, 989e12, 4.8e12),
    "B200": (180, 2250e12, 8.0e12),
    "L40S": (48, 362e12, 0.864e12),
    "RTX4090": (24, 165e12, 1.008e12),
}
NAMES = (*_SHEETS, "cpu")


def find(text: str) -> tuple[Device, int]:
    """``"8xH100"`` as the device and how many; ``"H100"`` is one. ``cpu`` is this machine.

    Raises:
        InputError: no such device, or a number of CPUs other than one.
    """
    match = re.fullmatch(r"(?:(\d+)x)?(\S+)", text.strip(), re.IGNORECASE)
    count = int(match[1] or 1) if match else 0
    names = {name.lower(): name for name in NAMES}
    name = names.get(match[2].lower()) if match else None
    if name is None or count < 1 or (name == "cpu" and count > 1):
        expected = f"a number and one of {', '.join(NAMES)}, such as 8xH100; cpu is this machine"
        raise InputError(Problem("--devices", None, "", f"found {text!r}", expected))
    return (this_machine() if name == "cpu" else _sheet(name)), count


def _sheet(name: str) -> Device:
    memory, flops, bandwidth = _SHEETS[name]
    return Device(name, memory * GIB, flops, bandwidth, torch.bfloat16, "data sheet")


def this_machine() -> Device:
    """This machine's CPU, its speed measured now, beside whatever else runs on it."""
    memory = float(psutil.virtual_memory().total)
    flops, bandwidth = gemm_flops(), copy_rate()
    return Device("cpu", memory, flops, bandwidth, torch.float32, "measured now", USABLE_CPU)


def gemm_flops() -> float:
    """Float32 operations a second in a matrix product on the CPU, best of five."""
    left = torch.rand(GEMM_SIZE, GEMM_SIZE)
    return 2 * GEMM_SIZE**3 / _best(lambda: left @ left)


def copy_rate() -> float:
    """Bytes a second that the CPU moves, read and written, in a large copy; best of five."""
    source = torch.ones(2**24)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / _best(lambda: target.copy_(source))


def _best(work: Callable[[], object], times: int = 5) -> float:
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best
