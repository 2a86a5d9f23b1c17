"""Everything a fit needs to continue bit for bit, and asides that must not disturb it."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.config import InputError, Problem
from burnish.engine import ranks
from burnish.engine.guard import check_weights
from burnish.engine.optim import Trainable
from burnish.engine.shards import Share, rows
from burnish.engine.source import Source
from burnish.store import checkpoints
from burnish.store.checkpoints import Checkpoint
from burnish.store.training_state import (
    capture_rng,
    flatten_optimizer,
    restore_optimizer,
    restore_rng,
)

Weights = dict[str, Tensor]
KEPT = "kept_"
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's tensors of the weight's own shape."""


def seed_everything(seed: int) -> None:
    """Seed the global generators of python, numpy and torch.

    Of several processes, torch's differs: noise on different batches is not to be the same noise.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed + ranks.index())


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
    share: Share,
    optimizer: torch.optim.Optimizer,
    source: Source,
    kept: Mapping[str, Weights],
) -> None:
    """Save a step checkpoint of a fit.

    Of several processes each writes its own pieces (``weights_0.safetensors``, ``weights_1...``)
    into the one folder, which the first makes, seals and puts in place when all have written.

    Args:
        identity: what a resumed fit must have in common with this one.
        progress: the loop's own counters, as JSON.
        share: what this process trains.
        kept: sets of weights put aside, by name.

    Raises:
        TrainingDiverged: a weight is not finite; nothing is written.
        StorageError: disk full or no permission; earlier checkpoints are untouched.
    """
    check_weights(share.trainable, step)
    moments, groups = flatten_optimizer(optimizer.state_dict())
    random_tensors, random_plain = capture_rng()
    tensors: dict[str, Mapping[str, Tensor]] = {
        "weights": share.trainable,
        "optimizer": moments,
        **{KEPT + name: weights for name, weights in kept.items()},
    }
    plain = {
        "identity": {**identity, "weights": share.shapes},
        "progress": dict(progress),
        "optimizer": groups,
        "random": random_plain,
        "source": source.state(),
        "kept": list(kept),
        "processes": ranks.count(),
    }
    pieces = share.pieces | piece_moments(share, optimizer)
    whole = {group: _without(named, pieces) for group, named in tensors.items()}
    whole |= {"random": random_tensors, "source": source.tensors()}
    own = {
        _of(group, ranks.index()): {name: named[name] for name in named if name in pieces}
        for group, named in tensors.items()
    }
    if not ranks.first():
        own[_of("random", ranks.index())] = random_tensors
    add = functools.partial(_write_own, own)
    if ranks.first():
        several = ranks.count() > 1
        checkpoints.save(folder, step, whole, plain, add=add if several else None)
    else:
        add(None)
    # One that went on, or ended, before it is in place could bring down the process that writes.
    ranks.wait()


def _write_own(own: Mapping[str, Mapping[str, Tensor]], temp: Path | None) -> None:
    """Write this process's groups into the folder that the first has made."""
    place = ranks.from_first(temp)
    assert place is not None
    for group, named in own.items():
        checkpoints.write_group(place, group, named)
    ranks.wait()


def restore(
    folder: Path,
    identity: Mapping[str, Any],
    share: Share,
    optimizer: torch.optim.Optimizer,
    source: Source,
) -> tuple[dict[str, Any], dict[str, Weights]] | None:
    """Continue from the newest whole checkpoint in ``folder``, by however many processes.

    Returns:
        The saved ``progress`` and ``kept``; None where there is no checkpoint.

    Raises:
        InputError: the checkpoint is of a fit with other settings, seed or weights.
        CorruptError: every checkpoint there is damaged.
    """
    found = ranks.from_first(checkpoints.newest(folder) if ranks.first() else None)
    if found is None:
        return None
    plain = found.state
    _check_identity(found.path, plain["identity"], {**identity, "weights": share.shapes})
    put_weights(share.trainable, _read(found, "weights", share.pieces))
    moments = _read(found, "optimizer", piece_moments(share, optimizer))
    optimizer.load_state_dict(restore_optimizer(moments, plain["optimizer"]))
    source.restore(plain["source"], found.tensors("source"))
    device = next(iter(share.trainable.values())).device
    kept = {
        name: {k: v.to(device) for k, v in _read(found, KEPT + name, share.pieces).items()}
        for name in plain["kept"]
    }
    # A process that was not there when it was saved keeps the random state it began with.
    if ranks.index() < plain["processes"]:
        own = "random" if ranks.first() else _of("random", ranks.index())
        restore_rng(found.tensors(own), plain["random"])
    return plain["progress"], kept


def piece_moments(share: Share, optimizer: torch.optim.Optimizer) -> frozenset[str]:
    """Which of the optimiser's flattened tensors are divided as their weights are."""
    names = {id(weight): name for name, weight in share.trainable.items()}
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return frozenset(
        f"state.{place}.{moment}"
        for place, weight in enumerate(weights)
        if names[id(weight)] in share.pieces
        for moment in MOMENTS
    )


def _of(group: str, process: int) -> str:
    return f"{group}_{process}"


def _without(named: Mapping[str, Tensor], names: frozenset[str]) -> dict[str, Tensor]:
    return {name: value for name, value in named.items() if name not in names}


def _read(found: Checkpoint, group: str, pieces: frozenset[str]) -> Weights:
    """A group's tensors as this process holds them, ``pieces`` of them in part."""
    tensors, saved = found.tensors(group), found.state["processes"]
    if saved == ranks.count():
        return tensors | (found.tensors(_of(group, ranks.index())) if saved > 1 else {})
    if saved > 1:
        parts = [found.tensors(_of(group, process)) for process in range(saved)]
        tensors |= {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: rows(value) if name in pieces else value for name, value in tensors.items()}


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
