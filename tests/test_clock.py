"""R-23: a wall clock that jumps changes neither an order nor a time-out."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

import pytest
from tests.engine import fits
from tests.serving import Handler, echo, serving

from burnish.loop import events
from burnish.loop.events import Events
from burnish.sampling import EndpointSettings, Request, Sampling, ServedSampler
from burnish.store import checkpoints

HOURS = (0, 72, -48, -48, 24)


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that goes days ahead, days back and stands still, from one look to the next."""
    clock: Iterator[int] = itertools.cycle(HOURS)
    real = time.time

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.fromtimestamp(time.time(), tz)

    monkeypatch.setattr(time, "time", lambda: real() + 3600 * next(clock))
    monkeypatch.setattr(events, "datetime", Jumping)


def test_events_are_in_the_order_they_came(tmp_path: Path, jumping: None) -> None:
    log = Events(tmp_path)
    for _ in HOURS:
        log.add("stage_started", stage="sft", round=1, mark="here")
    rows = Events(tmp_path).rows
    assert [row["sequence"] for row in rows] == [1, 2, 3, 4, 5]
    times = [datetime.fromisoformat(row["time"]).astimezone(UTC) for row in rows]
    assert times != sorted(times)  # the clock did jump
    assert Events(tmp_path).deaths("sft", 1, "here") == len(HOURS)


def test_a_slow_reply_is_waited_for_as_long_as_it_may_take(jumping: None) -> None:
    def late(handler: Handler, body: dict[str, object]) -> None:
        time.sleep(0.05)
        echo(handler, body)

    settings = EndpointSettings(timeout=30.0, attempts=1)
    asked = [Request([{"role": "user", "content": f"{n}"}], 0, f"{n}") for n in range(6)]
    with serving(late) as server:
        made = ServedSampler(server.ref, settings).complete(asked, Sampling())
    assert [one.text for one in made] == [f"{n}|0" for n in range(6)]


def test_a_fit_saves_by_the_seconds_that_passed(
    tmp_path: Path, jumping: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    save = checkpoints.save

    def noted(folder: Path, step: int, *rest: Any, **named: Any) -> Path:
        saved.append(step)
        return save(folder, step, *rest, **named)

    monkeypatch.setattr(checkpoints, "save", noted)
    result = fits.fit(fits.model(), {"save_seconds": 3600.0}, scratch=tmp_path)
    assert saved == [result.steps]  # its end, and no hour before it
    assert result.history[-1]["seconds"] >= 0
