from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.engine import fits

from burnish.config import Interrupted
from burnish.engine import StepInfo
from burnish.engine.log import MetricsLog
from burnish.engine.settings import SpikeSettings
from burnish.engine.spikes import Spikes
from burnish.objectives.types import Loss
from burnish.text.batches import Batch


def rule(window: int = 4, factor: float = 2.0) -> Spikes:
    return Spikes(SpikeSettings(window=window, factor=factor), MetricsLog(None))


def fired(spikes: Spikes, losses: list[float]) -> list[int]:
    """The places of the losses that the rule leaves out."""
    return [place for place, loss in enumerate(losses) if spikes.skip(place, loss, [f"r{place}"])]


def jitter(count: int) -> list[float]:
    """A loss near 2 that never repeats itself."""
    return [2 + 0.1 * math.sin(7.0 * place) for place in range(count)]


def test_limit_by_hand() -> None:
    # Of 1, 2, 3, 4 the median is 2.5; the distances 1.5, 0.5, 0.5, 1.5 have the median 1.
    spikes = rule()
    assert fired(spikes, [1.0, 2.0, 3.0]) == []
    assert spikes.limit == math.inf
    assert fired(spikes, [4.0]) == []
    assert spikes.limit == pytest.approx(2.5 + 2 * 1.4826)
    # The oldest goes: of 2, 3, 4, 5.4 the median is 3.5, of 1.5, 0.5, 0.5, 1.9 it is 1.
    assert fired(spikes, [5.4]) == []
    assert spikes.limit == pytest.approx(3.5 + 2 * 1.4826)
    assert fired(spikes, [6.5]) == [0]


def test_equal_losses_have_a_deviation() -> None:
    # At least 1 % of the median: of losses of 2 the limit is 2 + 2 * 0.02.
    spikes = rule()
    assert fired(spikes, [2.0] * 4 + [2.0399]) == []
    assert fired(rule(), [2.0] * 4 + [2.0401]) == [4]


def test_one_spike_fires_once() -> None:
    #
    spikes = rule(window=16, factor=8.0)
    losses = jitter(80)
    losses[40] = 9.0
    assert fired(spikes, losses) == [40]
    assert spikes.skipped == [
        {"step": 40, "loss": 9.0, "limit": spikes.skipped[0]["limit"], "ids": ["r40"]}
    ]


def test_slow_rise_and_step_down_do_not_fire() -> None:
    #
    base = jitter(120)
    rise = [loss + 0.05 * place for place, loss in enumerate(base)]
    down = [loss - (1.5 if place >= 60 else 0) for place, loss in enumerate(base)]
    dip = [loss - (1.5 if place == 60 else 0) for place, loss in enumerate(base)]
    assert fired(rule(16, 8.0), rise) == []
    assert fired(rule(16, 8.0), down) == []
    assert fired(rule(16, 8.0), dip) == []
    assert fired(rule(16, 8.0), [0.3 * place for place in range(120)]) == []


def test_a_new_level_is_accepted_after_three() -> None:
    up = [loss + (5 if place >= 60 else 0) for place, loss in enumerate(jitter(120))]
    assert fired(rule(16, 8.0), up) == [60, 61, 62]


def test_negative_losses() -> None:
    # Of -2 the limit is -2 + 2 * 0.02: the share of the median counts without its sign.
    assert fired(rule(), [-2.0] * 4 + [-1.97]) == []
    assert fired(rule(), [-2.0] * 4 + [-1.95]) == [4]


def poisoned(model: Any, batch: Batch) -> Loss:
    """A loss that record 11 makes forty times as large."""
    found = fits.nll(model, batch)
    return Loss(found.total * (40 if "record-11" in batch.ids else 1), found.count, found.metrics)


SPIKES = {"extras": {"spikes": {"window": 4, "factor": 6.0}}, "epochs": 3}


def test_the_step_is_not_taken_and_the_records_are_named(tmp_path: Path) -> None:
    #
    model = fits.model()
    at = {}

    def watch(info: StepInfo) -> None:
        at[info.step] = fits.weights(model)

    metrics, tags = tmp_path / "m.jsonl", {"stage": "sft"}
    result = fits.fit(model, SPIKES, loss=poisoned, on_step=watch, metrics=metrics, tags=tags)
    steps = [row["step"] for row in result.skipped]
    assert len(steps) == 2
    assert all("record-11" in row["ids"] and len(row["ids"]) <= 4 for row in result.skipped)
    assert all(row["loss"] > row["limit"] for row in result.skipped)
    assert [row["step"] for row in result.history if row["skipped"]] == steps
    for step in range(2, 19):
        assert fits.same(at[step], at[step - 1]) == (step in steps)
    lines = (tmp_path / "skipped.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{**tags, **row} for row in result.skipped]


def test_off_by_default(tmp_path: Path) -> None:
    result = fits.fit(fits.model(), {"epochs": 3}, loss=poisoned, metrics=tmp_path / "m.jsonl")
    assert result.skipped == []
    assert "skipped" not in result.history[-1]
    assert not (tmp_path / "skipped.jsonl").exists()


def test_what_was_skipped_survives_an_interruption(tmp_path: Path) -> None:
    # cut in the middle of what the rule looks back at, and killed after a skip.
    whole = fits.model()
    result = fits.fit(whole, SPIKES, loss=poisoned, metrics=tmp_path / "a" / "m.jsonl")
    first = result.skipped[0]["step"]

    def die(info: StepInfo) -> None:
        if info.step == first + 1:
            raise KeyError("as if killed")

    for saves, name in ((first, "at"), (first - 1, "before")):
        again = fits.model(seed=3)
        arguments: dict[str, Any] = {
            "loss": poisoned, "scratch": tmp_path / name, "metrics": tmp_path / name / "m.jsonl"
        }  # fmt: skip
        with pytest.raises(KeyError):
            fits.fit(fits.model(), SPIKES | {"save_steps": saves}, on_step=die, **arguments)
        second = fits.fit(again, SPIKES | {"save_steps": saves}, **arguments)
        assert fits.same(fits.weights(whole), fits.weights(again))
        assert second.skipped == result.skipped
        assert fits.logged(tmp_path / "a" / "m.jsonl") == fits.logged(tmp_path / name / "m.jsonl")
        assert (tmp_path / "a" / "skipped.jsonl").read_bytes() == (
            tmp_path / name / "skipped.jsonl"
        ).read_bytes()


def test_interrupted_right_after_a_skip(tmp_path: Path) -> None:
    whole = fits.model()
    result = fits.fit(whole, SPIKES, loss=poisoned)
    cut = fits.interrupt_at(result.skipped[0]["step"])
    with pytest.raises(Interrupted):
        fits.fit(fits.model(), SPIKES, loss=poisoned, on_step=cut, scratch=tmp_path)
    again = fits.model(seed=3)
    assert fits.fit(again, SPIKES, loss=poisoned, scratch=tmp_path).skipped == result.skipped
    assert fits.same(fits.weights(whole), fits.weights(again))
