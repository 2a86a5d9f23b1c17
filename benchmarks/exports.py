"""Every form of a model: size, speed, memory and what it lost, in one run.

    python -m benchmarks.exports                            burnish-tiny
    python -m benchmarks.exports --model smollm2 --tokens 1024

The source row is the model in float32 by transformers' own loop. Writes
benchmarks/RESULTS-exports.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.cli.one_stage import run_stages
from burnish.engine import SilentProgress
from burnish.exporting.forms import PRECISIONS
from burnish.reporting.exports import COSTS, shown
from burnish.reporting.exportstrings import told
from burnish.stages.release.export import REPORT
from burnish.store import atomic

PAGE = Path(__file__).with_name("RESULTS-exports.md")
DECODE = "decode_tokens_per_second"
FORMS = [f"{format_}:{one}" for format_, some in PRECISIONS.items() for one in some]


def measured(model: str, forms: list[str], threads: int, tokens: int) -> dict[str, Any]:
    """What ``release.export`` finds of the model in these forms, on held-out text."""
    stage = {
        "run": "release.export", "model": model, "to": forms, "heldout_tokens": tokens,
        "heldout": "burnish:quickstart/general_heldout.jsonl.gz",
        "speed": {"threads": threads, "repeats": 10},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        made = run_stages(
            {"export": stage}, model=model, work=Path(work), progress=SilentProgress()
        )
        text = (made.folders["export"] / REPORT).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def page(found: Mapping[str, Any], note: str) -> str:
    """The results as Markdown."""
    columns = [name for name in COSTS if name != "same_answers"]
    source = found["rows"][0]["figures"][DECODE]["value"]
    head = ["form", *(told("en", name) for name in columns), "decode / source", "verdict"]
    lines = [
        "# Exports", "",
        f"`{found['model']}`, one stream on {found['threads']} thread(s), medians with 95 % "
        f"intervals; {note}. Written by `python -m benchmarks.exports`.", "",
        "| " + " | ".join(head) + " |", "|" + " --- |" * len(head),
    ]  # fmt: skip
    for row in found["rows"]:
        cells = [shown(name, row["figures"].get(name)) for name in columns]
        ratio = row["figures"][DECODE]["value"] / source
        cells += [f"{ratio:.2f}", row.get("decision", "")]
        lines.append("| " + " | ".join([row["form"], *cells]) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="burnish-tiny")
    parser.add_argument("--to", action="append", help="a form (repeatable); all by default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=4096, help="of held-out text")
    parser.add_argument("--note", default="the machine had nothing else to do")
    options = parser.parse_args()
    found = measured(options.model, options.to or FORMS, options.threads, options.tokens)
    text = page(found, options.note)
    print(text)
    atomic.write_text(PAGE, text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
