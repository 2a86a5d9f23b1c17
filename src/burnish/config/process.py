"""This process among others, and how it uses threads and memory; known before torch loads."""

from __future__ import annotations

import ctypes
import logging
import os
import sys

# Threads that spin while they wait slow a shared machine down tenfold; threads that sleep at once
# make two cores as slow as one on a small model, where an operation takes microseconds. This many
# turns (some ten microseconds) gain most of the second and cost little of the first.
SPIN = "4000"
LARGEST_POOLED = 32 * 2**20
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def count() -> int:
    """How many processes torchrun started for this command; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this one is. The first, 0, is the one that writes and speaks."""
    return int(os.environ.get("RANK", "0")) if count() > 1 else 0


def tune() -> None:
    """Settings that a person's own environment variables override. Calling it again is harmless."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # peft imports bitsandbytes, which advises to install a kernel that burnish has no use for.
    # It imports torchao too, which names each of its libraries for other devices that do not load,
    # and its own settings that this torch would rather have registered in another way.
    for name in ("bitsandbytes.backends.cpu.ops", "torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Keep freed tensors' pages for the next ones: fresh pages cost a tenth of a small fit."""
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, musl has not
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_POOLED)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
