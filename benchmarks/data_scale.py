"""Generation, scoring, deduplication and selection at scale: ``python -m benchmarks.data_scale``.

Every step is a process of its own with two workers; its memory is that of all its processes, added
up four times a second. What was measured is kept in the folder, so that an interrupted benchmark
goes on. The page is written after each measurement.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks.data_page import TOOLS, page
from benchmarks.data_sampler import Sampler
from benchmarks.data_steps import STEPS
from benchmarks.run import processor
from burnish.selection.texts import texts_of
from burnish.store import atomic

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


class Results:
    """What was measured so far, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}

    def measure(self, key: str, job: Any) -> None:
        """Keep what ``job()`` gives, unless it is known."""
        if key not in self.found:
            print(key, file=sys.stderr, flush=True)
            self.found[key] = job()
            atomic.write_json(self.path, self.found)


def step(name: str, folder: Path, count: int) -> dict[str, Any]:
    """Run a step: seconds, CPU seconds of all its processes, their peak MiB, what it kept."""
    command = [sys.executable, "-m", "benchmarks.data_steps", name, str(folder)]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--count", str(count)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    peak = 0.0
    while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
        peak = max(peak, resident(process.pid))
        time.sleep(0.25)
    if ended[1] != 0 or process.stdout is None:
        raise SystemExit(f"{name}: ended with status {ended[1]}")
    found: dict[str, Any] = json.loads(process.stdout.read())
    usage = ended[2]
    took = {"wall": time.monotonic() - began, "cpu": usage.ru_utime + usage.ru_stime, "mib": peak}
    return found | took


def resident(pid: int) -> float:
    """MiB of a process and all below it; pages they share count for each."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0.0
    return total / 2**20


def planted_at_scale(folder: Path, sampler: Sampler) -> dict[str, Any]:
    """By words replaced: how many pairs there are, and how many were found."""
    keeper: dict[str, str] = {}
    for path in sorted((folder / "dedup").glob("removed-*.tsv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, dialect="excel-tab"):
                keeper[row["id"]] = row["reason"].rpartition(" ")[2]
    return planted(sampler, lambda a, b: keeper.get(str(a), str(a)) == keeper.get(str(b), str(b)))


def planted(sampler: Sampler, together: Any) -> dict[str, Any]:
    """Counts of the planted pairs, and of those that were found to be alike, by words replaced."""
    pairs, found = Counter[str](), Counter[str]()
    for number in range(9, sampler.count, 10):
        key = str(sampler.replaced(number))
        pairs[key] += 1
        found[key] += bool(together(number, sampler.original(number)))
    return {"pairs": dict(pairs), "found": dict(found)}


def compared(tool: str, python: str, texts: Path, sampler: Sampler) -> dict[str, Any]:
    """One tool over the texts; what it removed is held against what was planted."""
    done = subprocess.run(
        [python, str(HERE / "data_peers.py"), tool, str(texts)],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    if done.returncode:
        return {"problem": (done.stderr.strip().splitlines() or ["no answer"])[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    removed = set(found.pop("removed"))
    counts = planted(sampler, lambda a, b: a in removed or b in removed)
    return found | counts | {"removed": len(removed)}


def facts(args: argparse.Namespace) -> dict[str, str]:
    """What the page says of the machine."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "CPU": f"{processor()}, {len(os.sched_getaffinity(0))} cores",
        "load": f"{os.getloadavg()[2]:.1f} at the end, over 15 minutes: {args.note}",
    }


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_scale", description=__doc__)
    parser.add_argument("--counts", default="100000,1000000")
    parser.add_argument("--compare", type=int, default=20_000, help="texts for the comparison")
    parser.add_argument("--folder", type=Path, default=Path("runs/data-scale"))
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS-data.md")
    parser.add_argument("--note", default="the machine had nothing else to do")
    parser.add_argument(
        "--python", action="append", default=[], metavar="TOOL=PYTHON",
        help="an environment that has a tool; this one's where not said",
    )  # fmt: skip
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is not known yet."""
    args = arguments(given)
    args.folder.mkdir(parents=True, exist_ok=True)
    results = Results(args.folder / "results.json")
    pythons = dict.fromkeys(TOOLS, sys.executable) | dict(p.split("=", 1) for p in args.python)

    def measure(key: str, job: Any) -> None:
        results.measure(key, job)
        atomic.write_text(args.out, page(results.found, facts(args)))

    sampler = Sampler(args.compare)
    texts = args.folder / "texts.jsonl"
    with atomic.open_file(texts) as file:
        for part in range(len(sampler)):
            for record in sampler.read(part):
                file.write(json.dumps("\n".join(texts_of(record))).encode() + b"\n")
    for tool in TOOLS:
        measure(
            f"compare {args.compare} {tool}",
            lambda tool=tool: compared(tool, pythons[tool], texts, sampler),
        )
    for count in map(int, args.counts.split(",")):
        folder = args.folder / str(count)
        for name in STEPS:
            measure(
                f"step {count} {name}",
                lambda name=name, folder=folder, count=count: step(name, folder, count),
            )
        measure(
            f"planted {count}",
            lambda folder=folder, count=count: planted_at_scale(folder, Sampler(count)),
        )


if __name__ == "__main__":
    main()
