"""Step checkpoints of a fit: sealed folders ``step-000123`` of safetensors and JSON.

The newest one that is whole is used; a damaged one is named in the log and passed over.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from burnish.store import atomic, manifest
from burnish.store.errors import CorruptError, StorageError, storage_errors
from burnish.store.tensors import read_tensors, write_tensors

log = logging.getLogger(__name__)

_FOLDER = re.compile(r"step-(\d{6,12})")
_GROUP = re.compile(r"[a-z][a-z0-9_]{0,63}")
_STATE = "state.json"


@dataclass(frozen=True)
class Checkpoint:
    """One whole checkpoint; ``skipped`` says which newer ones were damaged, and how."""

    path: Path
    step: int
    state: dict[str, Any]
    skipped: tuple[str, ...] = ()

    def tensors(self, group: str) -> dict[str, Tensor]:
        """The tensors saved under ``group``, on the CPU.

        Raises:
            CorruptError: there is no such group, or its file is malformed.
        """
        _check_group(group)
        return read_tensors(self.path / f"{group}.safetensors")


def save(
    folder: Path | str,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
    add: Callable[[Path], None] | None = None,
) -> Path:
    """Save a checkpoint as ``folder/step-<step>`` and prune the older ones.

    Args:
        folder: where this fit's checkpoints lie.
        step: optimiser steps done so far; an existing checkpoint of this step is swapped out.
        tensors: ``{group: {name: tensor}}``, one safetensors file a group.
        state: everything else; must be JSON (floats are kept bit for bit).
        keep: how many whole checkpoints to keep, this one included.
        add: called with the folder before it is sealed, for what else belongs into it.

    Raises:
        StorageError: disk full or no permission; earlier checkpoints are untouched.
    """
    folder = Path(folder)
    text = json.dumps({"step": step, "state": dict(state)}, ensure_ascii=False)
    target = folder / f"step-{step:06d}"
    with atomic.new_folder(target, replace=True) as temp:
        for group, named in tensors.items():
            write_group(temp, group, named)
        if add is not None:
            add(temp)
        atomic.write_text(temp / _STATE, text)
        manifest.seal(temp)
    _prune(folder, step, keep)
    return target


def write_group(folder: Path, group: str, tensors: Mapping[str, Tensor]) -> None:
    """Write one group of tensors into a checkpoint's folder; errors as in ``write_tensors``."""
    _check_group(group)
    write_tensors(folder / f"{group}.safetensors", tensors)


def _check_group(group: str) -> None:
    if not _GROUP.fullmatch(group):
        raise ValueError(f"a group of tensors cannot be called {group!r}")


def _prune(folder: Path, saved: int, keep: int) -> None:
    """Keep the newest ``keep`` whole checkpoints up to the one just saved, which is always kept.

    A later one is left from before this run fell back to an older checkpoint: it goes only if it
    is damaged. Deleting is never worth losing a run over, so a failure is only logged.
    """
    whole: list[int] = []
    damaged: list[int] = []
    for step, path in _all(folder).items():
        try:
            manifest.verify(path, deep=step > saved)
        except CorruptError:
            damaged.append(step)
        except StorageError as error:
            log.warning("a checkpoint could not be checked and is kept: %s", error)
        else:
            whole.append(step)
    past = [step for step in whole if step <= saved]
    for step in [*past[: -max(keep, 1)], *damaged]:
        try:
            atomic.remove_folder(folder / f"step-{step:06d}")
        except StorageError as error:
            log.warning("an old checkpoint could not be removed: %s", error)


def newest(folder: Path | str) -> Checkpoint | None:
    """The newest whole checkpoint in ``folder``, every byte checked; None when there is none.

    Leftovers of killed processes are swept first. Damaged checkpoints are logged by name.

    Raises:
        CorruptError: there are checkpoints and all of them are damaged; lists each reason.
    """
    folder = Path(folder)
    with storage_errors(folder):
        atomic.sweep(folder)
        present = _all(folder)
    skipped: list[str] = []
    for step, path in reversed(present.items()):
        try:
            manifest.verify(path)
            return Checkpoint(path, step, _read_state(path, step), tuple(skipped))
        except CorruptError as error:
            skipped.append(f"{path.name}: {error.reason}")
            log.warning("checkpoint %s is damaged and passed over: %s", path, error.reason)
    if skipped:
        raise CorruptError(folder, ["no checkpoint here is whole", *skipped])
    return None


def _all(folder: Path) -> dict[int, Path]:
    """Checkpoint folders by step, oldest first."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in folder.iterdir():
        match = _FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            found[int(match.group(1))] = path
    return dict(sorted(found.items()))


def _read_state(path: Path, step: int) -> dict[str, Any]:
    try:
        content = json.loads((path / _STATE).read_bytes())
        state: dict[str, Any] = content["state"]
        whole = content["step"] == step and isinstance(state, dict)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise CorruptError(path, f"{_STATE} is damaged")
    return state
