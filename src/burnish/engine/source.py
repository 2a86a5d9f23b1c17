"""Where windows of batches come from."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from burnish.config import InputError
from burnish.engine.settings import TrainSettings
from burnish.text.batches import Batch, Segment, Unit, pack, size


class Source(Protocol):
    """Gives ``train`` its data, one window (the micro-batches of one optimiser step) at a time.

    ``window(step)`` is called once for each step in rising order, from 0, or from the step that
    ``restore`` continues at. What it returns may depend only on the arguments of the source, on
    the step and on what ``state`` and ``tensors`` hold, so that a resumed fit sees the same data.
    """

    dropout: bool
    """Whether the model's dropout is on while training. Off where the loss compares the model
    with its own earlier log-probabilities (PPO, GRPO): their ratio has to start at exactly 1."""

    @property
    def steps(self) -> int:
        """How many optimiser steps there are."""

    def asks_model(self, step: int) -> bool:
        """Whether ``window(step)`` computes with the model that is trained.

        Several processes gather its weights for that long, and each has the whole model.
        """

    def window(self, step: int) -> list[Batch] | None:
        """The micro-batches of step ``step``; None ends the fit.

        Of several processes each calls it, and must be given the same.
        """

    def metrics(self) -> dict[str, float]:
        """Numbers about the last window, logged with its step."""

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs, as JSON."""

    def tensors(self) -> dict[str, Tensor]:
        """What ``restore`` needs, as tensors."""

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Continue where a source with the same arguments was when these were taken."""


class DatasetSource:
    """A fixed data set, shuffled anew each epoch in an order set by seed and epoch alone.

    Args:
        units: segments, or groups of segments that belong into one batch (a chosen and a
            rejected reply); a group's segments follow each other in the batch, and the prompt
            they share is computed once.
        settings: gives epochs, window and micro-batch sizes.
        seed: of the order.
        phases: one number a unit: in every epoch units of a lower number come first, shuffled
            among themselves. None shuffles all of them.
        sizes: units of a window in each phase, in place of the settings' own; no window then holds
            units of two phases.

    The last window of an epoch (with ``sizes`` of a phase) holds what is left; since the engine
    divides by the window's own count it is as exact as the others.

    Raises:
        InputError: no units, or none with a token to train on.
    """

    dropout = True

    def __init__(
        self,
        units: Sequence[Unit],
        settings: TrainSettings,
        *,
        seed: int,
        phases: Sequence[int] | None = None,
        sizes: Mapping[int, int] | None = None,
    ) -> None:
        self._units = [[unit] if isinstance(unit, Segment) else list(unit) for unit in units]
        if not any(any(segment.mask[1:]) for unit in self._units for segment in unit):
            raise InputError(
                f"nothing to train on: none of the {len(self._units)} records has a token "
                "that carries loss"
            )
        self._lengths = [size(unit) for unit in self._units]
        self._tokens_per_batch = settings.tokens_per_batch
        self._windows: list[list[int]] = []
        self._epochs: list[float] = []
        for epoch in range(settings.epochs):
            order = epoch_order(len(self._units), seed, epoch)
            if phases is not None:
                order.sort(key=phases.__getitem__)
            if phases is None or sizes is None:
                windows = cut_windows(order, self._lengths, settings)
            else:
                windows = cut_phases(order, phases, sizes)
            self._windows += windows
            self._epochs += [epoch + (i + 1) / len(windows) for i in range(len(windows))]
            if settings.max_steps is not None and len(self._windows) >= settings.max_steps:
                break
        self._windows = self._windows[: settings.max_steps]
        self._step = 0

    @property
    def steps(self) -> int:
        """Windows of all epochs, at most ``max_steps``."""
        return len(self._windows)

    def asks_model(self, step: int) -> bool:
        """Never: the data are there."""
        return False

    def window(self, step: int) -> list[Batch] | None:
        """The micro-batches of step ``step``, None after the last."""
        if step >= len(self._windows):
            return None
        self._step = step
        groups = micro_batches(self._windows[step], self._lengths, self._tokens_per_batch)
        return [pack([self._units[index] for index in group]) for group in groups]

    def metrics(self) -> dict[str, float]:
        """``epoch``: passes over the data, with a fraction."""
        return {"epoch": self._epochs[self._step]}

    def state(self) -> dict[str, Any]:
        """A fingerprint of data and windows; a window depends on its step alone."""
        return {"data": self._fingerprint()}

    def tensors(self) -> dict[str, Tensor]:
        """None."""
        return {}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Check that the data are those of the interrupted fit; raises InputError if not."""
        if state["data"] != self._fingerprint():
            raise InputError(
                "the training data changed since this fit was interrupted; remove its step "
                "checkpoints to begin anew"
            )

    def _fingerprint(self) -> int:
        order = np.array([*chain.from_iterable(self._windows), *map(len, self._windows)])
        value = zlib.crc32(order.astype(np.int64).tobytes())
        for segment in chain.from_iterable(self._units):
            row = np.array([segment.tokens, segment.mask], dtype=np.int64)
            value = zlib.crc32(row.tobytes(), value)
        return value


def epoch_order(count: int, seed: int, *keys: int) -> list[int]:
    """A permutation of ``range(count)`` set by the seed and the keys."""
    order: list[int] = np.random.default_rng([seed, *keys]).permutation(count).tolist()
    return order


def cut_windows(
    order: Sequence[int], lengths: Sequence[int], settings: TrainSettings
) -> list[list[int]]:
    """Cut an order into windows of ``segments_per_step`` units, or of ``tokens_per_step`` tokens.

    A window of tokens takes units until it holds at least that many.
    """
    if settings.tokens_per_step is None:
        size = settings.segments_per_step
        return [list(order[i : i + size]) for i in range(0, len(order), size)]
    windows: list[list[int]] = [[]]
    filled = 0
    for index in order:
        if filled >= settings.tokens_per_step:
            windows.append([])
            filled = 0
        windows[-1].append(index)
        filled += lengths[index]
    return windows


def cut_phases(
    order: Sequence[int], phases: Sequence[int], sizes: Mapping[int, int]
) -> list[list[int]]:
    """Cut an order of units that is sorted by phase into windows of ``sizes[phase]`` units."""
    windows: list[list[int]] = []
    for phase, units in groupby(order, key=phases.__getitem__):
        there, size = list(units), sizes[phase]
        windows += [there[i : i + size] for i in range(0, len(there), size)]
    return windows


def micro_batches(
    window: Sequence[int], lengths: Sequence[int], tokens_per_batch: int
) -> list[list[int]]:
    """Divide a window into batches of at most ``tokens_per_batch`` tokens, alike in length.

    A longer unit is a batch of its own.
    """
    batches: list[list[int]] = []
    filled = 0
    for index in sorted(window, key=lambda i: (-lengths[i], i)):
        if not batches or filled + lengths[index] > tokens_per_batch:
            batches.append([])
            filled = 0
        batches[-1].append(index)
        filled += lengths[index]
    return batches
