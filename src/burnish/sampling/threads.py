"""How many CPU threads decoding is worth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

SMALL = 2**21
"""Multiply-adds of one matrix product below which waking other threads takes longer than they save:
32 rows of a model of width 128 stay with one thread, 4 rows of one of width 576 do not."""


@contextmanager
def few_threads(model: Any, rows: int) -> Iterator[None]:
    """One thread inside, where steps of ``rows`` tokens are too small to be divided.

    Nothing changes off the CPU. The rule is a size and not a measurement, so that equal runs give
    equal results.
    """
    config = model.config.get_text_config()
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    device = model.get_input_embeddings().weight.device
    threads = torch.get_num_threads()
    if device.type != "cpu" or rows * config.hidden_size * inner > SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
