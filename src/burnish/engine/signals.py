"""Ctrl-C and SIGTERM: finish the step, save, stop; a second signal ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

from burnish.config import EXIT_INTERRUPTED

WATCHED = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """While open, the first SIGINT or SIGTERM only sets ``received``.

    A second one ends the process with the exit code of an interruption, without cleaning up:
    everything on disk is written atomically, so nothing is lost but the step in progress.
    Outside the main thread, where Python delivers no signals, it watches nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in WATCHED}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(EXIT_INTERRUPTED)
        self.received = signal.Signals(number)
