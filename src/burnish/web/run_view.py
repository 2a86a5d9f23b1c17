"""A run as its folder tells it now: stages and their states, curves, alarms, samples, log."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from burnish.config import InputError, references
from burnish.config.secrets import redact
from burnish.loop.control import OUTPUT, process_of
from burnish.loop.events import EVENTS
from burnish.loop.recipe import Recipe, load
from burnish.loop.references import split
from burnish.loop.status import run_state
from burnish.reporting.rundata import Row, prompt_text, read_jsonl, reply_text
from burnish.store.metrics import Follower
from burnish.store.names import SAMPLES

LOG_BYTES = 8192
SHOWN = 6
ENDED = frozenset({"done", "stopped", "interrupted", "failed"})


@dataclass(frozen=True)
class StageView:
    """One stage of one round: ``state`` is waiting, running, done, reused, failed, interrupted, or
    died, where its process went away without a word."""

    name: str
    run: str
    round: int
    state: str
    seconds: float = 0.0
    artifact: str | None = None
    cause: str = ""
    step: int = 0


@dataclass(frozen=True)
class Sample:
    """A prompt and what the model says to it; ``source`` is the stage or artifact it is from."""

    source: str
    prompt: str
    reply: str
    reward: float | None = None


@dataclass
class RunView:
    """A run folder that is read again and again; only what is new is read from its logs."""

    folder: Path
    state: dict[str, Any] = field(default_factory=dict)
    process: psutil.Process | None = None

    def __post_init__(self) -> None:
        self.metrics = Follower(self.folder / "metrics.jsonl")
        self.events = Follower(self.folder / EVENTS)
        self.recipe = _recipe(self.folder)
        self.refresh()

    def refresh(self) -> None:
        """Take in what is new."""
        self.metrics.read()
        self.events.read()
        self.state = run_state(self.folder)
        self.process = process_of(self.folder)

    @property
    def name(self) -> str:
        """The run's folder name."""
        return self.folder.name

    @property
    def status(self) -> str:
        """running, done, stopped, interrupted, failed, or died: it has no end and no process."""
        if self.process is not None:
            return "running"
        status = str(self.state["status"])
        last = self.events.rows[-1] if self.events.rows else {}
        if last.get("event") == "run_ended":
            status = str(last.get("status"))
        return status if status in ENDED else "died"

    def curves(self) -> dict[tuple[str, int], list[Row]]:
        """Rows of metrics by stage and round, in order of step; of repeated steps the last."""
        steps: dict[tuple[str, int], dict[int, Row]] = defaultdict(dict)
        for order, row in enumerate(self.metrics.rows):
            own = steps[str(row.get("stage", "")), int(row.get("round") or 0)]
            step = int(row.get("step") or order)
            own[step] = own.get(step, {}) | row
        return {key: [rows[step] for step in sorted(rows)] for key, rows in steps.items()}

    def stages(self) -> list[StageView]:
        """Every stage that was begun, and those of the round under way that wait."""
        found: dict[tuple[str, int], StageView] = {}
        for told in self.state["stages"]:
            view = _from_summary(told)
            found[view.name, view.round] = view
        curves = self.curves()
        for event in self.events.rows:
            if event["event"] in ("stage_started", "stage_ended"):
                view = self._from_event(event, curves)
                before = found.get((view.name, view.round))
                if before is not None and view.state == "reused":
                    view = replace(view, seconds=before.seconds)
                found[view.name, view.round] = view
        return [*found.values(), *self._waiting(found)]

    def _from_event(self, event: Row, curves: Mapping[tuple[str, int], list[Row]]) -> StageView:
        name, round = str(event.get("stage")), int(event.get("round") or 0)
        open_state = "running" if self.process is not None else "died"
        rows = curves.get((name, round), [])
        return StageView(
            name,
            str(event.get("run", "")),
            round,
            str(event.get("state", open_state)),
            float(event.get("seconds") or 0.0),
            event.get("artifact"),
            str(event.get("cause", "")),
            int(rows[-1].get("step") or 0) if rows else 0,
        )

    def _waiting(self, found: Mapping[tuple[str, int], StageView]) -> list[StageView]:
        if self.recipe is None:
            return []
        round = max((number for _, number in found), default=0)
        planned = [(call, 0) for call in self.recipe.prepare]
        planned += [(call, max(round, 1)) for call in self.recipe.round]
        return [
            StageView(call.name, call.run, number, "waiting")
            for call, number in planned
            if (call.name, number) not in found
        ]

    def edges(self) -> list[tuple[str, str]]:
        """(stage, stage it is made from), as the recipe's references have it."""
        calls = self.recipe.stages() if self.recipe else ()
        names = {call.name: place for place, call in enumerate(calls)}
        first = split(self.recipe.header.rounds.champion)[0] if self.recipe else ""
        found = []
        for call in calls:
            for _, written, _ in references(call.config):
                parent = split(written)[0] if written.startswith("@") else ""
                parent = first if parent == "champion" else parent
                # A measurement may look at a later stage, that of the round before.
                if parent in names and names[parent] < names[call.name]:
                    found.append((call.name, parent))
        return list(dict.fromkeys(found))

    def rounds(self) -> list[Row]:
        """What each ended round came to; the last word on a round counts."""
        ended = {
            int(event["round"]): event
            for event in self.events.rows
            if event["event"] == "round_ended"
        }
        return [ended[number] for number in sorted(ended)]

    def details(self) -> dict[str, Row]:
        """The records of the run's artifacts by ref."""
        found = {}
        for path in sorted((self.folder / "artifacts").glob("*@*/artifact.json")):
            try:
                found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue  # it is being replaced now, and is there the next time
        return found

    def samples(self) -> list[Sample]:
        """What the model said last: in a policy fit, or when it was evaluated."""
        files = [self.folder / SAMPLES, *self.folder.glob("artifacts/*/responses.jsonl")]
        there = [path for path in files if path.is_file()]
        if not there:
            return []
        last = max(there, key=lambda path: path.stat().st_mtime)
        rows = list(read_jsonl(last))
        if last == files[0]:
            return [
                _sample(f"{row.get('stage')} · {row.get('round')}", row)
                for row in rows[-SHOWN:][::-1]
            ]
        chosen = rows[:: max(1, len(rows) // SHOWN)][:SHOWN]
        return [_sample(last.parent.name, row) for row in chosen]

    def log(self) -> str:
        """The end of what the run printed, where it was started in the background."""
        path = self.folder / OUTPUT
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_BYTES))
                text = file.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return redact(text, os.environ)


def _recipe(folder: Path) -> Recipe | None:
    """The run's recipe; None where it is of another version of burnish, which shows less."""
    try:
        return load(folder / "recipe.yaml")
    except InputError:
        return None


def _from_summary(told: Row) -> StageView:
    return StageView(
        str(told.get("name")),
        str(told.get("stage", "")),
        int(told.get("round") or 0),
        str(told.get("state", "done")),
        float(told.get("seconds") or 0.0),
        told.get("artifact"),
        str(told.get("cause", "")),
    )


def _sample(source: str, row: Row) -> Sample:
    reward = row.get("reward")
    number = float(reward) if isinstance(reward, int | float) else None
    return Sample(source, prompt_text(row), reply_text(row), number)
