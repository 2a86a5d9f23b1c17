"""A bound on cost against weighted sums: who keeps the budget, and the front of what can be had.

    python -m benchmarks.policies.constraint --work runs/policies

The page benchmarks/RESULTS-constraint.md says what is done; it is written by this program.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.policies import common
from benchmarks.policies.hacking import TRAIN, fitted, proxy
from benchmarks.selection import SHIPPED, made
from burnish.cli.one_stage import Made
from burnish.config import process
from burnish.evals import tasks
from burnish.evals.compare import RESPONSES
from burnish.records import Prompt
from burnish.reporting.charts import Line, line_chart
from burnish.rewards.verifiers import verify_prompt
from burnish.store import atomic, tables

PAGE = common.PAGES / "RESULTS-constraint.md"
WEIGHTS = (1e-8, 2.0, 8.0)
"""Of the cost in weighted sums, for the front; the first is as good as none."""
BUDGET = 1.4
"""Times what the start costs."""
SCALE = 3.0
"""Of the reward model's score, so that differences between replies are about as large as the
cost's."""
HELDOUT = 200
LAST = 6
"""Phases that a final figure is the mean of."""
SIZE = {"prompts_per_phase": 96, "per_prompt": 4}
MOVING = {"learning_rate": 3.0, "damping": 20.0, "initial": 8.0, "minimum": 1.0, "maximum": 50.0}
"""Of the multiplier: it begins high and may come down."""


@dataclass(frozen=True)
class End:
    """Where an arm ends: ``cost`` of its replies to training prompts, ``heldout`` cost and
    ``reward`` on held-out ones; ``multiplier`` is the mean over all phases."""

    cost: float
    heldout: float
    reward: float
    multiplier: float = 0.0


def divided(work: Path) -> tuple[Path, Path]:
    """The quickstart's training prompts, some of them held out."""
    files = work / "train.jsonl", work / "heldout.jsonl"
    if not files[1].exists():
        prompts = tables.read(SHIPPED / "rl_prompts.jsonl.gz", Prompt)
        random.Random(0).shuffle(prompts)
        tables.write(files[0], prompts[HELDOUT:])
        tables.write(files[1], prompts[:HELDOUT])
    return files


def arm(
    reward: Path, files: tuple[Path, Path], phases: int, budget: float, multiplier: dict[str, float]
) -> dict[str, Any]:
    """PPO on the reward less a multiplier times the cost, looked at after every second phase."""
    bound = {"cost": "verifier", "budget": budget, "update": "plain", **multiplier}
    watch = {"prompts": [str(files[1])], "per_prompt": 2, "every": 2, "action": "report"}
    return fitted(reward, phases, constraint=bound, prompts=[str(files[0])], watch=watch,
                  mix={"verifier": 0, "model": SCALE}, online={"phases": phases, **SIZE},
                  train={**TRAIN, "learning_rate": 5.0e-5})  # fmt: skip


def fixed(weight: float) -> dict[str, float]:
    """A multiplier that stays: reward and cost in a weighted sum."""
    return {"learning_rate": 1e-12, "initial": weight, "minimum": weight / 2, "maximum": weight}


def end(run: Made, name: str) -> End:
    """The last phases of an arm."""
    log = common.rows_of(run.folders[name].parents[1], name)
    rows = [row for row in log if row["phase_step"] == 1]
    looks = common.details(run.folders[name])["watch"]["looks"][-LAST // 2 :]
    return End(
        cost=float(np.mean([row["cost"] for row in rows[-LAST:]])),
        heldout=float(np.mean([(1 - look["verifier"]) / 2 for look in looks])),
        reward=float(np.mean([look["proxy"] for look in looks])),
        multiplier=float(np.mean([row["lambda"] for row in rows])),
    )


def start_of(run: Made, name: str) -> End:
    """What an arm begins with."""
    row = common.rows_of(run.folders[name].parents[1], name)[0]
    look = common.details(run.folders[name])["watch"]["looks"][0]
    return End(row["cost"], (1 - look["verifier"]) / 2, look["proxy"])


Arms = dict[str, End]


def run_seed(
    reward: Path,
    files: tuple[Path, Path],
    model: str,
    work: Path,
    seed: int,
    phases: int,
    cost: float,
) -> Arms:
    """The front and the bound; then a sum with the bound's mean multiplier."""
    budget = round(BUDGET * cost, 3)
    front = {f"weight_{place}": arm(reward, files, phases, budget, fixed(weight))
             for place, weight in enumerate(WEIGHTS)}  # fmt: skip
    front["bounded"] = arm(reward, files, phases, budget, MOVING)
    first = made(front, model, work / "front", seed)
    found = {name: end(first, name) for name in front}
    mean = round(found["bounded"].multiplier, 3)
    second = made({"sum": arm(reward, files, phases, budget, fixed(mean))}, model, work / "sum",
                  seed)  # fmt: skip
    return found | {"sum": end(second, "sum"), "start": start_of(first, "bounded")}


def cost_of(model: str, files: tuple[Path, Path], work: Path) -> float:
    """What the start's replies to the training prompts cost, four replies to each."""
    stage = {"run": "measure.evaluate", "model": "@base", "sampling": common.SAMPLING,
             "tasks": [{"name": "train", "data": str(files[0]), "metric": "right", "samples": 4,
                        "pass_at": 1}]}  # fmt: skip
    folder = made({"begin": stage}, model, work / "begin", 0).folders["begin"]
    prompts = {one.id: one for one in tables.read(files[0], Prompt)}
    checks = [
        verify_prompt(prompts[one.item_id], one.reply) for one in tasks.read(folder / RESPONSES)
    ]
    return float(np.mean([(1 - check.score) / 2 for check in checks if check is not None]))


def page(runs: Sequence[Arms], seeds: Sequence[int], phases: int, cost: float) -> str:
    """The page in Markdown, and its chart."""
    budget = BUDGET * cost
    names = {"start": "before training", "bounded": "cost held to the budget",
             "sum": "weighted sum, the bound's mean λ",
             **{f"weight_{n}": f"weighted sum, λ = {w:.0f}" for n, w in enumerate(WEIGHTS)},
             }  # fmt: skip
    rows = []
    for name, label in names.items():
        ends, begins = [run[name] for run in runs], [run["start"] for run in runs]
        over = [one.cost / budget - 1 for one in ends]
        gain = [one.reward - begin.reward for one, begin in zip(ends, begins, strict=True)]
        outside = [one.heldout / begin.heldout - 1 for one, begin in zip(ends, begins, strict=True)]
        rows.append([label, *(f"{one.cost:.3f} ({100 * o:+.0f} %), {g:+.2f}"
                              for one, o, g in zip(ends, over, gain, strict=True)),
                     f"{100 * np.mean(over):+.0f} %", f"{np.mean(gain):+.2f}",
                     f"{100 * np.mean(outside):+.0f} %"])  # fmt: skip
    head = ["", *[f"seed {seed}: cost (to budget), gain" for seed in seeds], "mean to budget",
            "mean gain", "held-out cost, to the start's"]  # fmt: skip
    multipliers = ", ".join(f"{run['bounded'].multiplier:.1f}" for run in runs)
    text = INTRODUCTION.format(phases=phases, seeds=", ".join(map(str, seeds)), last=LAST,
                               cost=cost, budget=budget, more=100 * (BUDGET - 1), scale=SCALE,
                               half=LAST // 2, multipliers=multipliers)  # fmt: skip
    return f"{text}\n{common.table(head, rows)}\n\n{chart(runs, budget)}\n"


def chart(runs: Sequence[Arms], budget: float) -> str:
    """The front: reward gained over cost, each the mean of the seeds."""

    def point(name: str) -> tuple[float, float]:
        cost = float(np.mean([run[name].cost for run in runs]))
        return cost, float(np.mean([run[name].reward - run["start"].reward for run in runs]))

    lines = [
        Line("weighted sums", sorted(point(f"weight_{n}") for n in range(len(WEIGHTS))), "c1"),
        Line("held to the budget", [point("bounded")], "c2"),
        Line("weighted sum, mean λ", [point("sum")], "c3"),
        Line("before training", [point("start")], "c5"),
    ]
    drawn = common.save_chart("pareto", line_chart(lines, label="reward gained over cost"))
    return (f"Reward gained (up) over cost (right), means of the seeds; the budget is "
            f"{budget:.3f}:\n\n{drawn}")  # fmt: skip


INTRODUCTION = """# A bound on cost against a weighted sum

Made by `python -m benchmarks.policies.constraint`. The reward is the flawed reward model of
[RESULTS-hacking.md](RESULTS-hacking.md), for which length pays, times {scale:g}; the cost is that
of the verifier (0 right, 1/2 declined, 1 wrong). Before training replies to training prompts cost
{cost:.3f}; the budget is {more:.0f} % above that, {budget:.3f}. PPO takes {phases} phases with a
multiplier λ that moves (`constraint`, update `plain`), and with multipliers that stay, which make
weighted sums of reward and cost; one of those has the mean of the moving one (means:
{multipliers}).

Cost is that of the replies which the last {last} phases sampled, to prompts of training; gain is of
the reward on 200 held-out prompts of the same kind, the mean of the last {half} looks, and so is
held-out cost. Seeds {seeds}. The moving multiplier is damped and has a floor (`damping`,
`minimum`), with settings chosen on seed 7; without both it fell to nothing while there was room,
came back late, and seed 0 ended 51 % above the budget.
"""


def main() -> None:
    """Run what is not there yet, and write the page."""
    process.tune()
    given = common.options(__doc__, phases=24)
    begun = common.start(given.work)
    reward = proxy(begun, given.work).resolve()
    model, files = str(begun.sft.resolve()), divided(given.work.resolve())
    cost = cost_of(model, files, given.work.resolve())
    runs = []
    for seed in given.seeds:
        work = given.work.resolve() / f"constraint{seed}"
        runs.append(run_seed(reward, files, model, work, seed, given.phases, cost))
        text = page(runs, given.seeds[: len(runs)], given.phases, cost)
        print(text, flush=True)
        if given.part == "eval":
            atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main()
