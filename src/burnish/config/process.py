"""How this process uses threads and memory; set before torch loads."""

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


def tune() -> None:
    """Settings that a person's own environment variables override. Calling it again is harmless."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # peft imports bitsandbytes, which advises to install a kernel that burnish has no use for.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Keep freed tensors' pages for the next ones: fresh pages cost a tenth of a small fit."""
    if not sys.platform.startswith("linux") or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, musl has not
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_POOLED)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
