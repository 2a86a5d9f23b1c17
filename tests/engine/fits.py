"""A small fit of a tiny Llama on uneven sequences, shared by the engine's tests."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests import tiny
from transformers import LlamaForCausalLM

from burnish.engine import DatasetSource, FitResult, StepInfo, TrainSettings, train
from burnish.models.forward import token_logprobs
from burnish.objectives.language import cross_entropy
from burnish.objectives.types import Loss
from burnish.store import checkpoints
from burnish.text.batches import Batch, Segment

TIMES = {"seconds", "tokens_per_second"}


def model(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    """Small and quick, with dropout so that random state matters."""
    small: dict[str, object] = {"hidden_size": 16, "intermediate_size": 32, "vocab_size": 64}
    return tiny.model(seed, **(small | {"attention_dropout": 0.1} | changes))


def segments(count: int, seed: int = 0, longest: int = 20) -> list[Segment]:
    """Random tokens, 3 to ``longest`` of them, the last two thirds trained."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        tokens = random.integers(6, 64, random.integers(3, longest + 1)).tolist()
        mask = [place >= len(tokens) // 3 for place in range(len(tokens))]
        made.append(Segment(tokens, mask, f"record-{index}"))
    return made


def nll(model: Any, batch: Batch) -> Loss:
    return cross_entropy(token_logprobs(model, batch).logprobs)


def settings(**changes: Any) -> TrainSettings:
    """Two epochs of 23 records in windows of 4: 12 steps, a short last window each epoch."""
    plain = {"epochs": 2, "segments_per_step": 4, "tokens_per_batch": 30, "learning_rate": 0.01}
    return TrainSettings(**(plain | changes))


def fit(trained: Any, changes: dict[str, Any] | None = None, **arguments: Any) -> FitResult:
    """One fit with the defaults of this file."""
    chosen = settings(**(changes or {}))
    source = DatasetSource(segments(23), chosen, seed=5)
    arguments = {"loss": nll, "seed": 7} | arguments
    return train(trained, source, settings=chosen, **arguments)


def interrupt_at(step: int) -> Any:
    """An ``on_step`` that sends this process SIGINT after ``step``."""

    def watch(info: StepInfo) -> None:
        if info.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    return watch


def weights(trained: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in trained.named_parameters()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def saved(scratch: Path) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    """Tensors and state of the newest checkpoint, without the clock's readings."""
    found = checkpoints.newest(scratch)
    assert found is not None
    groups = {name: found.tensors(name) for name in ("weights", "optimizer", "random", "source")}
    found.state["progress"].pop("seconds")
    return groups, found.state


def logged(path: Path) -> bytes:
    """The metrics file without the clock's readings."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return "\n".join(
        json.dumps({name: value for name, value in row.items() if name not in TIMES})
        for row in rows
    ).encode()
