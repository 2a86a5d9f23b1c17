"""Make the environment of TRL, which the oracle and the benchmarks ask: ``python tools/peer.py``.

TRL is no dependency of burnish: it gets an environment of its own, of some gigabytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv-trl"


def torch_pin() -> str:
    """The torch that the Makefile installs."""
    found = re.search(r"^TORCH \?= (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    if found is None:
        raise ValueError("the Makefile has no TORCH")
    return found[1]


TRL = ("trl>=1.16", "peft>=0.21.2", "transformers>=5.24,<6", "requests")


def ready(folder: Path, modules: str = "peft, trl", needed: Sequence[str] = TRL) -> Path:
    """The environment's python; makes and fills the environment where one of the modules is
    missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    there = [python, "-c", f"import {modules}"]
    if subprocess.run(there, capture_output=True, check=False).returncode:
        pip = [python, "-m", "pip", "install", "--quiet"]
        # torch first and alone: resolved together with the rest it may become a CUDA build.
        subprocess.run([*pip, torch_pin()], check=True)
        subprocess.run([*pip, torch_pin(), *needed], check=True)
    return python


if __name__ == "__main__":
    print(ready(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
