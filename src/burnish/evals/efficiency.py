"""What a model costs to use: speed, latency, memory, size, measured on burnish's own decoding."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import psutil
import torch
from pydantic import Field, PositiveInt

from burnish.config import ModelRef, Settings
from burnish.evals.savings import SPEEDS
from burnish.evals.statistics import clustered_bootstrap
from burnish.models.load import Loaded
from burnish.records import Figure
from burnish.sampling import Sampling
from burnish.sampling.cache import context_length
from burnish.sampling.decoding import Row, Rows
from burnish.sampling.stopping import Endings
from burnish.sampling.threads import few_threads
from burnish.store.manifest import folder_size

UPWARD = {
    "prefill_tokens_per_second": True, "decode_tokens_per_second": True,
    "latency_p50_seconds": False, "latency_p95_seconds": False,
    "peak_memory_bytes": False, "size_bytes": False,
}  # fmt: skip
"""Every figure, and whether more is better."""


class EfficiencySettings(Settings):
    """One request at a time: a prompt of ``prompt_tokens``, a reply of ``new_tokens``, measured
    ``repeats`` times after ``warmup`` rounds that do not count. A gate that asks for something
    ``cheaper`` needs both models timed ``beside`` each other, by turns, since a machine changes
    from one hour to the next."""

    prompt_tokens: PositiveInt = 128
    new_tokens: int = Field(default=32, ge=2)
    repeats: int = Field(default=10, ge=2)
    warmup: int = Field(default=2, ge=0)
    beside: ModelRef | None = None


def measure(loaded: Loaded, settings: EfficiencySettings) -> dict[str, Figure]:
    """The figures of ``UPWARD``; times have 95 % bootstrap intervals over repeats.

    Prefill is the time to the first token, decoding that from there to the last; the latency is
    both together. Replies are not ended early. Memory is CUDA's peak, or on the CPU the largest
    resident size of this process while decoding: weights, cache and Python itself.
    """
    prompt = _prompt([loaded], settings)
    if loaded.model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(loaded.model.device)
    rounds, peak = [], 0
    for turn in range(settings.warmup + settings.repeats):
        first, rest, resident = _one(loaded, prompt, settings.new_tokens)
        peak = max(peak, resident)
        if turn >= settings.warmup:
            rounds.append((first, rest))
    prefill, decode = (np.array(column) for column in zip(*rounds, strict=True))
    return {
        "prefill_tokens_per_second": typical(len(prompt) / prefill),
        "decode_tokens_per_second": typical((settings.new_tokens - 1) / decode),
        **_latency(prefill + decode),
        "peak_memory_bytes": _exactly(peak),
        "size_bytes": _exactly(_size(loaded)),
    }


def by_turns(
    first: Loaded, second: Loaded, settings: EfficiencySettings
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """The size of both models, and their speeds at the same prompt, turn by turn.

    Who begins changes with every turn, so that neither gains by what the other leaves in the
    caches. A turn costs both the same moment of the machine: its ratio is what can be compared.
    """
    prompt = _prompt([first, second], settings)
    costs: tuple[dict[str, list[float]], ...] = tuple(
        {"size_bytes": [float(_size(one))], **{name: [] for name in SPEEDS}}
        for one in (first, second)
    )
    for turn in range(settings.warmup + settings.repeats):
        sides = list(zip((first, second), costs, strict=True))
        for loaded, cost in sides if turn % 2 else reversed(sides):
            prefill, decode, _ = _one(loaded, prompt, settings.new_tokens)
            if turn >= settings.warmup:
                cost["prefill_tokens_per_second"].append(len(prompt) / prefill)
                cost["decode_tokens_per_second"].append((settings.new_tokens - 1) / decode)
    return costs[0], costs[1]


def _prompt(models: Sequence[Loaded], settings: EfficiencySettings) -> tuple[int, ...]:
    """Ids that all of these models know, as many as all have room for."""
    room = min(context_length(one.model) for one in models) - settings.new_tokens
    known = min(len(one.tokenizer) for one in models)
    drawn = np.random.default_rng(0).integers(known, size=max(1, min(settings.prompt_tokens, room)))
    return tuple(drawn.tolist())


def where(loaded: Loaded) -> dict[str, Any]:
    """What the figures depend on besides the model."""
    device = loaded.model.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {
        "device": name, "threads": torch.get_num_threads(), "torch": torch.__version__,
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
    }  # fmt: skip


@torch.inference_mode()
def _one(loaded: Loaded, prompt: tuple[int, ...], tokens: int) -> tuple[float, float, int]:
    """Seconds to the first token and from there to the last, and the largest memory in bytes."""
    device = loaded.model.device
    endless = Endings(loaded.tokenizer, frozenset(), [])
    row = Row(prompt, np.random.default_rng(0), tokens, Sampling(temperature=0.0), endless)
    with few_threads(loaded.model, 1):
        began = _now(device)
        rows = Rows(loaded.model, [row])
        rows.step()
        first = _now(device)
        while rows.alive:
            rows.step()
        ended = _now(device)
    if device.type == "cuda":
        return first - began, ended - first, torch.cuda.max_memory_allocated(device)
    return first - began, ended - first, psutil.Process().memory_info().rss  # with its cache


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _size(loaded: Loaded) -> int:
    """Bytes of the model's files; of its weights where it came from a hub."""
    if loaded.path is None:
        return sum(one.numel() * one.element_size() for one in loaded.model.parameters())
    return folder_size(loaded.path)


def typical(values: Any, statistic: Callable[[Any], float] = np.median) -> Figure:
    """The median of repeats, or another statistic, with a 95 % bootstrap interval."""
    return clustered_bootstrap(values, statistic=lambda drawn: float(statistic(drawn)), draws=1000)


def _latency(seconds: Any) -> dict[str, Figure]:
    return {
        "latency_p50_seconds": typical(seconds),
        "latency_p95_seconds": typical(seconds, lambda drawn: np.quantile(drawn, 0.95)),
    }


def _exactly(value: int) -> Figure:
    return Figure(float(value), float(value), float(value), 1)
