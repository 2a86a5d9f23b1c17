from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.tracking import (
    LOGGER_TYPE_TO_CLASS,
    GeneralTracker,
    get_available_trackers,
    register_tracker_class,
)
from tests.engine import fits

from burnish.config import InputError
from burnish.engine import StepInfo


class Listed(GeneralTracker):
    """Remembers what it is told."""

    name = "listed"
    requires_logging_directory = True
    told: list[Any]

    def __init__(self, run_name: str, logging_dir: str) -> None:
        super().__init__()
        Listed.told = [("project", run_name, logging_dir)]

    @property
    def tracker(self) -> list[Any]:
        return self.told

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.told.append(("settings", values))

    def log(self, values: dict[str, Any], step: int | None = None, **kwargs: Any) -> None:
        random.random(), torch.rand(1)
        self.told.append((step, values))

    def finish(self) -> None:
        self.told.append("finished")


@pytest.fixture
def listed() -> Iterator[None]:
    register_tracker_class(Listed)
    yield
    del LOGGER_TYPE_TO_CLASS["listed"]


TAGS: dict[str, str | int] = {"stage": "sft", "round": 2}


def tracked(name: str, folder: Path, model: Any = None, **arguments: Any) -> Any:
    changes = {"extras": {"trackers": [name]}, "max_steps": 3}
    return fits.fit(
        model or fits.model(),
        changes,
        metrics=folder / "m.jsonl",
        label="sft",
        tags=TAGS,
        **arguments,
    )


@pytest.mark.usefixtures("listed")
def test_a_tracker_is_told_every_step(tmp_path: Path) -> None:
    result = tracked("listed", tmp_path)
    project, (kind, settings), *rows, last = Listed.told
    assert project == ("project", "burnish", str(tmp_path / "trackers" / "sft-2"))
    assert (kind, last) == ("settings", "finished")
    assert settings["stage"] == "sft"
    assert settings["max_steps"] == 3
    assert settings["extras.trackers"] == "listed"
    assert rows == [
        (row["step"], {name: value for name, value in row.items() if name != "step"})
        for row in result.history
    ]


@pytest.mark.usefixtures("listed")
def test_a_tracker_that_draws_random_numbers_changes_nothing(tmp_path: Path) -> None:
    plain, watched = fits.model(), fits.model()
    fits.fit(plain, {"max_steps": 3})
    tracked("listed", tmp_path, model=watched)
    assert fits.same(fits.weights(plain), fits.weights(watched))


@pytest.mark.usefixtures("listed")
def test_a_tracker_is_closed_when_the_fit_fails(tmp_path: Path) -> None:
    def fail(info: StepInfo) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        tracked("listed", tmp_path, on_step=fail)
    assert Listed.told[-1] == "finished"


def test_unknown_and_missing_trackers_stop_the_fit_before_it_begins(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no tracker 'tensorbord'; one of aim"):
        tracked("tensorbord", tmp_path)
    there = {str(kind) for kind in get_available_trackers()}
    name = next(name for name in ("comet_ml", "aim", "dvclive") if name not in there)
    package = {"comet_ml": "comet-ml"}.get(name, name)
    with pytest.raises(InputError, match=f"{name} needs .* not installed; pip install {package}$"):
        tracked(name, tmp_path)
    assert not (tmp_path / "m.jsonl").exists()


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tracked("tensorboard", tmp_path)
    assert list((tmp_path / "trackers" / "sft-2").rglob("events.out.tfevents.*"))
