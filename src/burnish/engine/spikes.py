"""Loss spikes: a window whose loss jumps up is not trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import median
from typing import Any

from burnish.engine.log import MetricsLog
from burnish.engine.settings import SpikeSettings

NORMAL = 1.4826
"""The standard deviation of normal values for each unit of their median absolute deviation."""
SMALLEST = 0.01
"""The deviation is taken to be at least this share of the median: equal losses have none."""
MOST_IN_A_ROW = 3
"""More high losses than this in a row are no spike but a new level."""


class Spikes:
    """The rule, the losses it looks back at, and what it left out.

    A loss is a spike where it exceeds ``median + factor * max(1.4826 * MAD, 0.01 * |median|)`` of
    the last ``window`` losses trained on, MAD being their median absolute deviation (Hampel 1974);
    neither is moved by a few outliers. Nothing is left out before there are ``window`` losses. A
    steady rise is never a spike: it lies 1.35 deviations above the median whatever its slope.
    """

    def __init__(self, settings: SpikeSettings, log: MetricsLog) -> None:
        """``log`` gets a row for every window left out: step, loss, limit and record ids."""
        self.settings = settings
        self.log = log
        self.losses: list[float] = []
        self.in_a_row = 0
        self.skipped: list[dict[str, Any]] = []

    @property
    def limit(self) -> float:
        """The highest loss that is still trained on."""
        if len(self.losses) < self.settings.window:
            return math.inf
        middle = median(self.losses)
        spread = NORMAL * median(abs(loss - middle) for loss in self.losses)
        return middle + self.settings.factor * max(spread, SMALLEST * abs(middle))

    def skip(self, step: int, loss: float, ids: list[str]) -> bool:
        """Take the loss of one window, before its optimiser step; True where it is a spike."""
        limit = self.limit
        if loss > limit and self.in_a_row < MOST_IN_A_ROW:
            self.in_a_row += 1
            self.skipped.append({"step": step, "loss": loss, "limit": limit, "ids": ids})
            self.log.write(self.skipped[-1])
            return True
        if loss > limit:
            self.losses = []
        self.in_a_row = 0
        self.losses = [*self.losses, loss][-self.settings.window :]
        return False

    def state(self) -> dict[str, Any]:
        """What ``restore`` needs, as JSON."""
        return {"losses": self.losses, "in_a_row": self.in_a_row, "skipped": self.skipped}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue where the state was taken."""
        self.losses, self.in_a_row = state["losses"], state["in_a_row"]
        self.skipped = state["skipped"]
