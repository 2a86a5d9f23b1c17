"""The process that a runtime lives in: answers JSON lines, and tells what memory it took.

``python -m burnish.exporting.child FORMAT PATH CONTEXT THREADS [ROWS]``. Runtimes write to standard
output as they like; answers go to what was standard output when the process began. It ends when its
input does, so not later than its parent, and not before: signals that reach both are the parent's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.exporting.runtimes import RUNTIMES


def main() -> None:
    """Load the artifact, say so, then answer until the input ends."""
    format_, path, *numbers = sys.argv[1:]
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    before = resident("VmRSS")
    try:
        runtime = RUNTIMES[format_](Path(path), *map(int, numbers))
    except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
        tell({"error": f"{type(error).__name__}: {error}"})
        return
    tell({"value": before})
    for line in sys.stdin:
        question = json.loads(line)
        tell(answered(runtime, question["ask"], question["with"]))


def answered(runtime: Any, ask: str, given: dict[str, Any]) -> dict[str, Any]:
    """The answer to one question, with the most memory so far."""
    try:
        value = getattr(runtime, ask)(**given)
    except Exception as error:  # noqa: BLE001 - told to the parent, which raises it
        return {"error": f"{type(error).__name__}: {error}"}
    plain = asdict(value) if ask == "score" else value
    return {"value": plain, "peak": resident("VmHWM")}


def resident(name: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process in bytes; 0 where /proc does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = status.read_text(encoding="utf-8").splitlines()
    return next((int(row.split()[1]) * 1024 for row in lines if row.startswith(f"{name}:")), 0)


if __name__ == "__main__":
    main()
