"""Compare burnish's objectives with TRL's own code on the same random numbers.

TRL is a second opinion and no dependency: it has an environment of its own (``peer.py`` makes it,
which takes minutes the first time), where ``oracle_trl.py`` calls the loss methods of its
trainers. Values and gradients are compared in float64. Where TRL means another formula by the
same name, the table says so, and the difference must be there. Exit 1 on any surprise.

TRL has no PPO any more (generalised advantages, value clip, whitening); those stand on closed
forms alone (``tests/objectives``).

Example:
    python tools/oracle.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from oracle_cases import CASES, TOLERANCE, Case, Data, random_data
from peer import FOLDER, ready

SEED = 20_407
LEAST_DIFFERENCE = 1e-3


def difference(case: Case, data: Data, theirs: dict[str, list[float]]) -> float:
    """The largest difference of values and gradients; infinite where their numbers differ."""
    values, leaves = case.ours(data)
    slopes = torch.autograd.grad(values.sum(), leaves) if leaves else ()
    mine = values.detach().flatten().tolist() + [v for s in slopes for v in s.flatten().tolist()]
    other = theirs["values"] + theirs["gradient"]
    if len(mine) != len(other):
        return float("inf")
    return max(abs(a - b) for a, b in zip(mine, other, strict=True))


def verdict(case: Case, gap: float) -> tuple[bool, str]:
    """Whether the difference is as it should be, and what the table says of it."""
    if case.another:
        right = LEAST_DIFFERENCE < gap < float("inf")
        return right, case.another if right else f"EXPECTED A DIFFERENCE: {case.another}"
    right = gap <= case.tolerance
    single = " in float32" if case.tolerance > TOLERANCE else ""
    return right, f"agrees{single}" if right else "DISAGREES"


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, ask TRL, compare; the exit code."""
    parser = argparse.ArgumentParser(description="Compare burnish's objectives with TRL's.")
    parser.add_argument("--venv", type=Path, default=FOLDER, help="environment of TRL")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    python, data = ready(options.venv), random_data(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        request, reply = Path(folder) / "request.json", Path(folder) / "answer.json"
        calls = [(case.call, case.settings) for case in CASES]
        request.write_text(json.dumps({"data": data, "calls": calls}), encoding="utf-8")
        script = Path(__file__).with_name("oracle_trl.py")
        quiet = {**os.environ, "TRL_EXPERIMENTAL_SILENCE": "1"}
        subprocess.run([python, script, request, reply], check=True, env=quiet)
        theirs = json.loads(reply.read_text(encoding="utf-8"))
    print(f"TRL {theirs['version']}, seed {options.seed}: largest difference, gradients included")
    wrong = 0
    for case, answer in zip(CASES, theirs["answers"], strict=True):
        gap = difference(case, data, answer)
        right, text = verdict(case, gap)
        wrong += not right
        print(f"{case.objective:19} {case.variant:31} {gap:9.1e}  {text}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
