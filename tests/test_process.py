"""What a process is set to before torch loads."""

from __future__ import annotations

import os
import subprocess
import sys

PRINT = (
    "from burnish.config import process; process.tune(); process.tune(); import os;"
    "print(os.environ['OMP_WAIT_POLICY'], os.environ['GOMP_SPINCOUNT'])"
)


def settings(**own: str) -> list[str]:
    bare = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    run = subprocess.run(
        [sys.executable, "-c", PRINT], env=bare | own, capture_output=True, text=True, check=True
    )
    return run.stdout.split()


def test_threads_spin_briefly_unless_told_otherwise() -> None:
    assert settings() == ["passive", "4000"]
    assert settings(OMP_WAIT_POLICY="active", GOMP_SPINCOUNT="7") == ["active", "7"]
