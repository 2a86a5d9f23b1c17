"""Experiment trackers, told of every step beside the metrics file, through accelerate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

from burnish.config import InputError, Problem
from burnish.engine.log import MetricsLog, Row
from burnish.engine.settings import TrainSettings
from burnish.store.training_state import capture_rng, restore_rng

PROJECT = "burnish"
FOLDER = "trackers"
PACKAGES = {"comet_ml": "comet-ml"}
"""The package of a tracker, where it is not called like the tracker."""


@contextmanager
def following(log: MetricsLog, settings: TrainSettings, label: str) -> Iterator[None]:
    """Inside the block, ``settings.extras.trackers`` are told of each row of ``log``.

    They are accelerate's trackers by name, those registered with ``register_tracker_class`` too.
    Each fit is one run of the project ``burnish``, with its tags and settings as configuration;
    a tracker that writes files does so in ``trackers/<label and tags>`` beside the metrics file. A
    resumed fit is another run to them: the metrics file stays the record.

    Raises:
        InputError: a tracker is unknown, or its package is not installed.
    """
    names = settings.extras.trackers
    if found := problems(names):
        raise InputError(found)
    run = "-".join(dict.fromkeys([label, *(str(value) for value in log.tags.values())]))
    folder = (log.path.parent if log.path else Path()) / FOLDER / run
    opened: list[Any] = []
    try:
        for name in names:
            kind = LOGGER_TYPE_TO_CLASS[name]
            place = [str(folder)] if kind.requires_logging_directory else []
            tracker = kind(PROJECT, *place)
            tracker.start()
            opened.append(tracker)
            tracker.store_init_configuration({**log.tags, **flat(settings.model_dump(mode="json"))})
        log.followers = [_apart(tracker) for tracker in opened]
        yield
    finally:
        log.followers = []
        for tracker in opened:
            tracker.finish()


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, lists as text: what trackers take."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = ", ".join(value) if isinstance(value, list) else value
    return found


def _apart(tracker: Any) -> Callable[[Row, int], None]:
    """The tracker's ``log``, which must not shift the random state of training."""

    def log(row: Row, step: int) -> None:
        tensors, plain = capture_rng()
        tracker.log(row, step=step)
        restore_rng(tensors, plain)

    return log


def problems(names: Sequence[str]) -> list[Problem]:
    """Which trackers cannot be had here, and why."""
    return [problem for name in names if (problem := _problem(name))]


def _problem(name: str) -> Problem | None:
    where = ("", None, "trackers")
    built_in = {str(kind) for kind in get_available_trackers()}
    if name not in LOGGER_TYPE_TO_CLASS:
        known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
        return Problem(*where, f"there is no tracker {name!r}", f"one of {known}")
    ours = LOGGER_TYPE_TO_CLASS[name].__module__ == LOGGER_TYPE_TO_CLASS["tensorboard"].__module__
    if ours and name not in built_in:
        package = PACKAGES.get(name, name)
        return Problem(
            *where, f"{name} needs a package that is not installed", f"pip install {package}"
        )
    return None
