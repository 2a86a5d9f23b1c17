"""Measure burnish and TRL in turn and write the table: ``python -m benchmarks.run --help``."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.report import TOLERANCE, Line, Measured, difference, page
from benchmarks.workloads import WORKLOADS, Workload, chosen
from burnish.config.process import SPIN

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CORPUS = ROOT / "src/burnish/assets/quickstart/general.jsonl.gz"
PEER_PYTHON = ROOT / ".venv-trl/bin/python"
MODELS = {"tiny": "burnish-tiny", "smollm2": "smollm2"}
# Threads of both sides wait alike: long spinning would be counted as CPU time, above all TRL's.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "passive",
    "GOMP_SPINCOUNT": SPIN,
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}


class WorkerFailed(Exception):
    """A worker ended without an answer; the message is its last words."""


class Workers:
    """Starts a fresh process for each job, and remembers the versions that answered."""

    def __init__(self, peer_python: str) -> None:
        self.commands = {
            "burnish": [sys.executable, "-m", "benchmarks.burnish_worker"],
            "TRL": [peer_python, "-m", "benchmarks.trl_worker"],
        }
        self.versions: dict[str, str] = {}

    def ask(self, side: str, job: dict[str, Any]) -> dict[str, Any]:
        """The answer of one side to a job; raises WorkerFailed."""
        done = subprocess.run(
            self.commands[side],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ENVIRONMENT},
            check=False,
        )
        if done.returncode or not done.stdout.strip():
            words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise WorkerFailed(f"{side}: {words[-1]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        self.versions |= found.pop("versions")
        return found


def compare(workers: Workers, model: str, folder: str, workload: Workload, args: Any) -> Line:
    """Check that both sides compute the same, then measure them in turn; burnish by itself where
    there is no peer."""
    line = Line(model, workload.about)
    job = {
        "workload": asdict(workload),
        "model": folder,
        "corpus": str(CORPUS),
        "seconds": args.seconds,
    }
    try:
        if workload.alone:
            measure = job | {"do": "measure"}
            runs = [Measured(**workers.ask("burnish", measure)) for _ in range(args.repeats)]
            return replace(line, burnish=runs)
        losses = [workers.ask(side, job | {"do": "check"})["losses"] for side in workers.commands]
        apart = difference(losses[0], losses[1])
        if apart > TOLERANCE:
            shown = " against ".join(", ".join(f"{x:.6g}" for x in side) for side in losses)
            return replace(line, problem=f"not measured: losses differ by {apart:.1e} ({shown})")
        both: dict[str, list[Measured]] = {side: [] for side in workers.commands}
        for _ in range(args.repeats):
            for side, found in both.items():
                found.append(Measured(**workers.ask(side, job | {"do": "measure"})))
                say(f"  {side}: {found[-1].rate('cpu'):,.0f} tokens/CPU-s, {found[-1].steps} steps")
    except WorkerFailed as error:
        return replace(line, problem=f"not measured: {error}".replace("|", "/"))
    return replace(line, losses=(losses[0], losses[1]), burnish=both["burnish"], peer=both["TRL"])


def facts(workers: Workers, args: Any) -> dict[str, str]:
    """What the page says of the machine and the run."""
    versions = ", ".join(f"{name} {value}" for name, value in sorted(workers.versions.items()))
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "CPU": f"{processor()}, {len(os.sched_getaffinity(0))} cores",
        "versions": versions,
        "measured": f"{args.repeats} times {args.seconds:g} s a side, in turn",
    }


def processor() -> str:
    """The CPU's name."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    names = ",".join(workload.name for workload in WORKLOADS)
    parser.add_argument("--model", choices=["tiny", "smollm2", "both"], default="tiny")
    parser.add_argument("--only", metavar="NAMES", help=f"some of {names}")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each side")
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--peer-python", default=str(PEER_PYTHON), help="a Python with TRL")
    args = parser.parse_args(given)
    try:
        args.workloads = chosen(args.only)
    except ValueError as error:
        parser.error(str(error))
    return args


def main(given: Sequence[str] | None = None) -> None:
    """Measure, and write the page after every line so that a long run can be watched."""
    args = arguments(given)
    if args.peer_python == str(PEER_PYTHON) and not PEER_PYTHON.exists():
        subprocess.run([sys.executable, str(ROOT / "tools/peer.py")], check=True)
    workers = Workers(args.peer_python)
    models = list(MODELS) if args.model == "both" else [args.model]
    lines: list[Line] = []
    for model in models:
        folder = workers.ask("burnish", {"do": "locate", "model": MODELS[model]})["folder"]
        for workload in args.workloads:
            say(f"{model}: {workload.about}")
            lines.append(compare(workers, model, folder, workload, args))
            if lines[-1].problem:
                say(f"  {lines[-1].problem}")
            before = args.out.read_text(encoding="utf-8") if args.out.exists() else ""
            args.out.write_text(page(facts(workers, args), lines, before), encoding="utf-8")
    say(f"written to {args.out}")


if __name__ == "__main__":
    main()
