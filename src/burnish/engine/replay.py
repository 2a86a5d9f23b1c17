"""A data set of a domain and of general text, whose shares can change on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from burnish.engine.settings import TrainSettings
from burnish.engine.source import DatasetSource
from burnish.text.batches import Segment, Unit, size


class ReplaySource(DatasetSource):
    """``DatasetSource`` of units of two kinds, which ``remix`` exchanges for one another.

    Until it is called this is ``DatasetSource`` itself. The number of windows, and with it the
    learning rate's schedule, never changes: what general text comes in, as much domain text stays
    out, window for window.

    Args:
        units: as in ``DatasetSource``.
        general: of each unit, whether it is general text.
        spare: further general units, taken in this order where more are wanted.

    Raises:
        InputError: as ``DatasetSource``.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        settings: TrainSettings,
        *,
        seed: int,
        general: Sequence[bool],
        spare: Sequence[Unit] = (),
    ) -> None:
        super().__init__(units, settings, seed=seed)
        more = [[unit] if isinstance(unit, Segment) else list(unit) for unit in spare]
        self._units += more
        self._lengths += [size(unit) for unit in more]
        self._general = [*general, *(True for _ in more)]
        self._spare = list(range(len(units), len(self._units)))
        self._data = super().state()
        self._changes: list[tuple[int, float]] = []
        self._left_out = 0

    @property
    def spare(self) -> int:
        """Tokens of general text that ``remix`` has to draw from."""
        return sum(self._lengths[index] for index in self._spare)

    @property
    def left_out(self) -> int:
        """Tokens of domain text that ``remix`` has taken out so far."""
        return self._left_out

    def share(self, begin: int = 0) -> float:
        """The share of general text in the tokens of all windows from ``begin`` on; 0 of none."""
        indices = [index for window in self._windows[begin:] for index in window]
        return self._share(indices)

    def remix(self, step: int, share: float) -> None:
        """Exchange domain for general units until ``share`` of each window's tokens are general.

        A window that cannot meet it exactly leaves the difference to the next. Where the spare
        text ends, the windows after that stay as they are. A share only ever rises.
        """
        self._changes.append((step, share))
        owed = room = 0.0
        for window in self._windows[step:]:
            held = sum(self._lengths[index] for index in window)
            owed += held * (share - self._share(window))
            for index in [index for index in window if not self._general[index]]:
                length = self._lengths[index]
                if not self._spare or owed < length / 2 or len(window) == 1:
                    continue
                window.remove(index)
                owed, room, self._left_out = owed - length, room + length, self._left_out + length
                while self._spare and room >= self._lengths[self._spare[0]] / 2:
                    room -= self._lengths[self._spare[0]]
                    window.append(self._spare.pop(0))

    def metrics(self) -> dict[str, float]:
        """``epoch``, and ``general_share`` of the last window's tokens."""
        return {**super().metrics(), "general_share": self._share(self._windows[self._step])}

    def state(self) -> dict[str, Any]:
        """The data's fingerprint, and every change: the windows follow from them."""
        return {**self._data, "changes": self._changes}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """As ``DatasetSource``, and make the changes again."""
        super().restore(state, tensors)
        for step, share in state["changes"]:
            self.remix(step, share)

    def _share(self, indices: Sequence[int]) -> float:
        general = sum(self._lengths[index] for index in indices if self._general[index])
        return general / max(1, sum(self._lengths[index] for index in indices))
