"""Which runs there are, and the state of one, finished or not, read from its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def run_folders(runs: Path) -> list[Path]:
    """Every run below ``runs``, by name."""
    return sorted({path.parent for path in runs.glob("*/recipe.yaml")})


def run_state(folder: Path) -> dict[str, Any]:
    """``{"run", "status", "folder", "stages": [{"name", "round", "state", "seconds", ...}]}``.

    The loop writes the summary anew after every stage, so it also tells of a run in progress.
    """
    summary = _summary(folder / "summary.json")
    if summary is not None:
        return {
            "run": summary.get("run", folder.name),
            "status": summary.get("status", "done"),
            "folder": str(folder),
            "stages": summary.get("stages", []),
        }
    return {"run": folder.name, "status": "starting", "folder": str(folder), "stages": []}


def _summary(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
