"""Everything a fit needs to continue bit for bit, and asides that must not disturb it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.config import InputError, Problem
from burnish.engine.guard import check_weights
from burnish.engine.optim import Trainable
from burnish.engine.source import Source
from burnish.store import checkpoints
from burnish.store.training_state import (
    capture_rng,
    flatten_optimizer,
    restore_optimizer,
    restore_rng,
)

Weights = dict[str, Tensor]
KEPT = "kept_"


def seed_everything(seed: int) -> None:
    """Seed the global generators of python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def copy_weights(trainable: Trainable) -> Weights:
    """A copy of the current weights, by name."""
    return {name: parameter.detach().clone() for name, parameter in trainable.items()}


def put_weights(trainable: Trainable, weights: Mapping[str, Tensor]) -> None:
    """Set the weights in place."""
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])


@contextmanager
def aside(model: nn.Module) -> Iterator[None]:
    """Evaluate in the middle of training: eval mode, no gradients, random state put back."""
    was_training = model.training
    tensors, plain = capture_rng()
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)
        restore_rng(tensors, plain)


def save(
    folder: Path,
    step: int,
    identity: Mapping[str, Any],
    progress: Mapping[str, Any],
    trainable: Trainable,
    optimizer: torch.optim.Optimizer,
    source: Source,
    kept: Mapping[str, Weights],
) -> None:
    """Save a step checkpoint of a fit.

    Args:
        identity: what a resumed fit must have in common with this one.
        progress: the loop's own counters, as JSON.
        kept: sets of weights put aside, by name.

    Raises:
        TrainingDiverged: a weight is not finite; nothing is written.
        StorageError: disk full or no permission; earlier checkpoints are untouched.
    """
    check_weights(trainable, step)
    moments, groups = flatten_optimizer(optimizer.state_dict())
    random_tensors, random_plain = capture_rng()
    tensors: dict[str, Mapping[str, Tensor]] = {
        "weights": trainable,
        "optimizer": moments,
        "random": random_tensors,
        "source": source.tensors(),
    }
    tensors |= {KEPT + name: weights for name, weights in kept.items()}
    plain = {
        "identity": {**identity, "weights": _shapes(trainable)},
        "progress": dict(progress),
        "optimizer": groups,
        "random": random_plain,
        "source": source.state(),
        "kept": list(kept),
    }
    checkpoints.save(folder, step, tensors, plain)


def restore(
    folder: Path,
    identity: Mapping[str, Any],
    trainable: Trainable,
    optimizer: torch.optim.Optimizer,
    source: Source,
) -> tuple[dict[str, Any], dict[str, Weights]] | None:
    """Continue from the newest whole checkpoint in ``folder``.

    Returns:
        The saved ``progress`` and ``kept``; None where there is no checkpoint.

    Raises:
        InputError: the checkpoint is of a fit with other settings, seed or weights.
        CorruptError: every checkpoint there is damaged.
    """
    found = checkpoints.newest(folder)
    if found is None:
        return None
    plain = found.state
    _check_identity(found.path, plain["identity"], {**identity, "weights": _shapes(trainable)})
    put_weights(trainable, found.tensors("weights"))
    optimizer.load_state_dict(restore_optimizer(found.tensors("optimizer"), plain["optimizer"]))
    source.restore(plain["source"], found.tensors("source"))
    device = next(iter(trainable.values())).device
    kept = {
        name: {key: value.to(device) for key, value in found.tensors(KEPT + name).items()}
        for name in plain["kept"]
    }
    restore_rng(found.tensors("random"), plain["random"])
    return plain["progress"], kept


def _shapes(trainable: Trainable) -> dict[str, list[int]]:
    return {name: list(parameter.shape) for name, parameter in trainable.items()}


def _check_identity(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [name for name in sorted({*saved, *now}) if saved.get(name) != now.get(name)]
    if changed:
        raise InputError(
            Problem(
                str(path),
                None,
                ", ".join(changed),
                "this step checkpoint is of a fit with other settings",
                "the settings it was begun with, or remove the folder to begin anew",
            )
        )
