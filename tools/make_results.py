"""Write docs/results.md from finished runs.

Example:
    for seed in 0 1 2; do burnish run quickstart --set seed=$seed; done
    burnish run smollm2
    python tools/make_results.py runs/quickstart runs/quickstart-seed[12] runs/smollm2
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

WANTED = {
    "knowledge_heldout_exact": ("exact answers about entities never asked about", "≥ 0.5"),
    "knowledge_without_pretraining": ("the same without post-pretraining", "about 0.1"),
    "harmful_refused": ("harmful prompts refused, random split", "≥ 0.9"),
    "left_out_source_refused": ("harmful prompts refused, source left out", "shown"),
    "benign_refused": ("harmless look-alikes refused", "≤ 0.06"),
    "unknown_abstained": ("“I don't know” about unknown entities", "≥ 0.6"),
    "confident_wrong_before": ("confident and wrong, first champion", "shown"),
    "confident_wrong_after": ("confident and wrong, last champion", "falls"),
    "general_ppl_ratio": ("general perplexity ÷ that of the base", "≤ 1.3"),
    "reward_heldout_accuracy": ("reward model, held-out pairs", "≥ 0.8"),
    "reward_left_out_accuracy": ("reward model, topic left out", "shown"),
}
INTRODUCTION = """# Results

Figures of generated replies on items that no stage saw, with 95 % intervals; made by

```
for seed in 0 1 2; do burnish run quickstart --set seed=$seed; done
burnish run smollm2
python tools/make_results.py runs/quickstart runs/quickstart-seed[12] runs/smollm2
```

The column *aim* is what the quickstart is meant to reach; where a run misses it, the true figure
stands here all the same. Times are of a machine with two CPU cores and no GPU.
"""
QUICKSTART = "quickstart"


def cell(figures: dict[str, float], name: str) -> str:
    """``0.52 [0.41, 0.63]``, or a dash where the run has no such figure."""
    if name not in figures:
        return "–"
    low, high = figures[f"{name}_low"], figures[f"{name}_high"]
    return f"{figures[name]:.2f} [{low:.2f}, {high:.2f}]"


def table(runs: list[dict[str, Any]], aims: bool) -> list[str]:
    """One row a figure that any run has, one column a run; ``aims`` adds what is meant."""
    rows = [["figure", "aim", *(f"seed {run['seed']}" for run in runs)]]
    rows.append(["---"] * len(rows[0]))
    for name, (text, aim) in WANTED.items():
        if any(name in run["figures"] for run in runs):
            rows.append([text, aim, *(cell(run["figures"], name) for run in runs)])
    rows.append(["wall time", "≤ 300 s", *(f"{run['wall_seconds']:.0f} s" for run in runs)])
    memory = (f"{run['peak_rss_bytes'] / 2**20:.0f} MiB" for run in runs)
    rows.append(["memory", "≤ 2048 MiB", *memory])
    shown = rows if aims else [[row[0], *row[2:]] for row in rows]
    return [f"| {' | '.join(row)} |" for row in shown]


def verdicts(runs: list[dict[str, Any]]) -> list[str]:
    """What the gate said in each round of each run."""
    return [
        f"- seed {run['seed']}, round {verdict['round']}: **{verdict['decision']}**. "
        f"{verdict['reason']}"
        for run in runs
        for verdict in run["verdicts"]
    ]


def main() -> None:
    """Read the summaries and write the page; notes below a line ``## Notes`` are kept."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", type=Path, nargs="+", help="run folders")
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    options = parser.parse_args()
    runs = [json.loads((run / "summary.json").read_text("utf-8")) for run in options.runs]
    old = options.out.read_text("utf-8") if options.out.exists() else ""
    notes = old[old.index("## Notes") :] if "## Notes" in old else "## Notes\n"
    parts = [INTRODUCTION]
    for recipe in dict.fromkeys(run["recipe"] for run in runs):
        part = [run for run in runs if run["recipe"] == recipe]
        parts += [f"## {recipe}", "", *table(part, recipe == QUICKSTART), ""]
        parts += ["What the gate said:", "", *verdicts(part), ""]
    parts.append(notes.rstrip())
    options.out.write_text("\n".join(parts) + "\n", "utf-8")


if __name__ == "__main__":
    main()
