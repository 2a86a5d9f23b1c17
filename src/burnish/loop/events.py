"""``events.jsonl`` of a run: one event a line, for whoever follows it, and for the next start.

Every line has ``event``, ``sequence`` (from 1, without gaps over all invocations) and ``time``
(UTC, for people: order is by sequence). What the events are is in docs/loop.md.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from burnish.store.metrics import Metrics, Row

EVENTS = "events.jsonl"


class Events:
    """The event log of one run folder, with what earlier invocations wrote."""

    def __init__(self, folder: Path) -> None:
        self._log = Metrics(folder / EVENTS)
        self.rows: list[Row] = self._log.read()

    def add(self, event: str, **fields: Any) -> None:
        """Append one event.

        Raises:
            StorageError: disk full or no permission.
        """
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        row = {"sequence": len(self.rows) + 1, "time": now, "event": event, **fields}
        self._log.append(row)
        self.rows.append(row)

    def deaths(self, stage: str, round: int, mark: str) -> int:
        """How often in a row a stage was begun where ``mark`` stood, and its end never written:
        the process died each time, without getting on."""
        count = 0
        for row in reversed(self.rows):
            if (row.get("stage"), row.get("round")) != (stage, round):
                continue
            if row["event"] != "stage_started" or row.get("mark") != mark:
                break
            count += 1
        return count

    def failure(self, round: int) -> tuple[str, str] | None:
        """Stage and cause where the round's last end was a failure."""
        for row in reversed(self.rows):
            if row["event"] == "round_ended" and row.get("round") == round:
                failed = row.get("decision") == "failed"
                return (row["failed"], row["cause"]) if failed else None
        return None
