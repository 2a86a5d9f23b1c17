"""A bound on cost against weighted sums: who keeps the budget, and the front of what can be had.

    python -m benchmarks.policies.constraint --work runs/policies

The page benchmarks/RESULTS-constraint.md says what is done; it is written by this program.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.policies import common
from benchmarks.policies.hacking import fitted, proxy
from benchmarks.selection import made
from burnish.cli.one_stage import Made
from burnish.config import process
from burnish.reporting.charts import Line, line_chart
from burnish.store import atomic

PAGE = common.PAGES / "RESULTS-constraint.md"
WEIGHTS = (0.0, 1.0, 4.0, 16.0)
"""Of the cost in weighted sums, for the front."""
LAST = 3
"""Phases that a final figure is the mean of."""


def weighted(reward: Path, phases: int, weight: float) -> dict[str, Any]:
    """The reward less ``weight`` times the cost, as one number: cost is (1 - verifier) / 2."""
    return fitted(reward, phases, mix={"verifier": weight / 2, "model": 1.0})


def bounded(reward: Path, phases: int, budget: float) -> dict[str, Any]:
    """The reward under the budget."""
    bound = {"cost": "verifier", "budget": budget, "learning_rate": 2.0, "initial": 1.0,
             "update": "plain"}  # fmt: skip
    return fitted(reward, phases, constraint=bound)


def ends(run: Made, arm: str, weight: float = 0.0) -> tuple[float, float]:
    """Cost and reward on held-out prompts, the mean of the last looks.

    In a weighted sum the proxy holds the verifier too, which is taken out of it again.
    """
    looks = common.details(run.folders[arm])["watch"]["looks"][-LAST:]
    cost = [(1 - look["verifier"]) / 2 for look in looks]
    reward = [look["proxy"] - weight / 2 * look["verifier"] for look in looks]
    return float(np.mean(cost)), float(np.mean(reward))


def budget_of(run: Made) -> tuple[float, float]:
    """What the start costs on the held-out prompts, and the reward it has."""
    look = common.details(run.folders["weight_0"])["watch"]["looks"][0]
    return (1 - look["verifier"]) / 2, look["proxy"]


Arms = dict[str, tuple[float, float]]
"""Cost and reward by arm; ``start`` too, and ``lambda`` with the mean multiplier (twice)."""


def run_seed(reward: Path, model: str, work: Path, seed: int, phases: int) -> Arms:
    """The front; then the bound at what the start costs; then a sum with the bound's mean λ."""
    front = {f"weight_{weight:g}": weighted(reward, phases, weight) for weight in WEIGHTS}
    first = made(front, model, work / "front", seed)
    budget = round(budget_of(first)[0], 3)
    second = made({"bounded": bounded(reward, phases, budget)}, model, work / "bounded", seed)
    log = common.rows_of(second.folders["bounded"].parents[1], "bounded")
    mean = float(np.mean([row["lambda"] for row in log]))
    third = made({"sum": weighted(reward, phases, round(mean, 3))}, model, work / "sum", seed)
    found = {f"weight_{weight:g}": ends(first, f"weight_{weight:g}", weight) for weight in WEIGHTS}
    found |= {"bounded": ends(second, "bounded"), "sum": ends(third, "sum", round(mean, 3))}
    return found | {"start": budget_of(first), "lambda": (mean, mean)}


def page(runs: Sequence[Arms], seeds: Sequence[int], phases: int) -> str:
    """The page in Markdown, and its chart."""
    names = {"start": "before training", "bounded": "cost held to the budget",
             "sum": "weighted sum, the bound's mean λ",
             **{f"weight_{w:g}": f"weighted sum, weight {w:g}" for w in WEIGHTS}}  # fmt: skip
    rows = []
    for arm, label in names.items():
        over = [run[arm][0] / run["start"][0] - 1 for run in runs]
        gain = [run[arm][1] - run["start"][1] for run in runs]
        rows.append([label, *(f"{run[arm][0]:.3f} ({100 * o:+.0f} %), {g:+.2f}"
                              for run, o, g in zip(runs, over, gain, strict=True)),
                     f"{100 * np.mean(over):+.0f} %", f"{np.mean(gain):+.2f}"])  # fmt: skip
    head = [
        "",
        *[f"seed {seed}: cost (over budget), gain" for seed in seeds],
        "mean over",
        "mean gain",
    ]
    multipliers = ", ".join(f"{run['lambda'][0]:.2f}" for run in runs)
    text = INTRODUCTION.format(phases=phases, seeds=", ".join(map(str, seeds)), last=LAST,
                               multipliers=multipliers)  # fmt: skip
    return f"{text}\n{common.table(head, rows)}\n\n{chart(runs)}\n"


def chart(runs: Sequence[Arms]) -> str:
    """The front: reward gained over cost, each the mean of the seeds."""

    def point(arm: str) -> tuple[float, float]:
        cost = float(np.mean([run[arm][0] for run in runs]))
        return cost, float(np.mean([run[arm][1] - run["start"][1] for run in runs]))

    lines = [
        Line("weighted sums", sorted(point(f"weight_{weight:g}") for weight in WEIGHTS), "c1"),
        Line("held to the budget", [point("bounded")], "c2"),
        Line("weighted sum, mean λ", [point("sum")], "c3"),
        Line("before training", [point("start")], "c5"),
    ]
    drawn = common.save_chart("pareto", line_chart(lines, label="reward gained over cost"))
    return f"Reward gained (up) over cost (right), means of the seeds:\n\n{drawn}"


INTRODUCTION = """# A bound on cost against a weighted sum

Made by `python -m benchmarks.policies.constraint`. The reward is the flawed reward model of
[RESULTS-hacking.md](RESULTS-hacking.md), for which length pays; the cost is that of the verifier
(0 right, 1/2 declined, 1 wrong). PPO maximises the reward for {phases} phases: with the cost held
to what the model costs before training (`constraint`, update `plain`), with weighted sums of reward
and cost, and with the weighted sum whose weight is the mean of the bound's multiplier (means:
{multipliers}).
Cost and reward are those of sampled replies to 200 held-out prompts, the mean of the last {last} of
{phases} looks; `over budget` is relative to the budget. Seeds {seeds}.
"""


def main() -> None:
    """Run what is not there yet, and write the page."""
    process.tune()
    given = common.options(__doc__, phases=8)
    begun = common.start(given.work)
    reward = proxy(begun, given.work).resolve()
    runs = []
    for seed in given.seeds:
        work = given.work.resolve() / f"constraint{seed}"
        runs.append(run_seed(reward, str(begun.sft.resolve()), work, seed, given.phases))
        text = page(runs, given.seeds[: len(runs)], given.phases)
        print(text, flush=True)
        if given.part == "eval":
            atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main()
