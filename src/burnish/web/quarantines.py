"""Quarantines of a run's data: each a folder of data without what was named, and its report."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.store import atomic, lock
from burnish.tracing.index import Index
from burnish.tracing.quarantine import quarantine, write_list

FOLDER = "quarantine"


def carry_out(run: Path, index: Index, target: str) -> str:
    """Write the run's data without what descends from ``target``; returns the quarantine's number.

    It lies in ``quarantine/NUMBER`` of the run, the list of what was removed and the report beside
    it. The run's own files stay as they are.

    Raises:
        InputError: as ``tracing.quarantine.quarantine``.
    """
    place = run / FOLDER
    with lock.held(place / ".lock", wait=True):
        # One that was interrupted has a folder and no report; its number is taken all the same.
        taken = (int(path.name[:3]) for path in place.glob("[0-9][0-9][0-9]*"))
        number = f"{1 + max(taken, default=0):03d}"
        found = quarantine(index, [target], place / number)
        write_list(index, place / f"{number}.quarantine.jsonl")
        report = {"number": number, "target": target, **asdict(found)}
        atomic.write_json(place / f"{number}.json", report)
    return number


def earlier(run: Path) -> list[dict[str, Any]]:
    """The reports of a run's quarantines, oldest first."""
    reports = sorted((run / FOLDER).glob("[0-9]*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in reports]
