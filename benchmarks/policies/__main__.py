"""PPO, GRPO, DPO and two hybrids against the model they start from, at about equal compute.

    python -m benchmarks.policies --work runs/policies

The page benchmarks/RESULTS-policies.md says what is done; it is written by this program.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.policies import common
from benchmarks.selection import made
from burnish.cli.one_stage import Made
from burnish.config import process
from burnish.evals.statistics import paired_comparison
from burnish.store import atomic

PAGE = common.PAGES / "RESULTS-policies.md"
ARMS = {
    "ppo": "PPO",
    "grpo": "GRPO",
    "dpo": "DPO on the pairs",
    "dpo_ppo": "DPO, then PPO",
    "combined": "PPO + 0.5 DPO in one objective",
    "dpo_combined": "DPO, then PPO + 0.5 DPO",
}
TRAIN = {"learning_rate": 5.0e-5, "schedule": "constant", "epochs": 2, "segments_per_step": 64,
         "eps": 1.0e-5}  # fmt: skip
PER_PROMPT = 4
NLL = 3.0
"""Weight of the chosen replies' own loss beside DPO's."""
WITH_PAIRS = ("dpo", "dpo_ppo", "combined", "dpo_combined")


def stages(pairs: Path, phases: int, prompts: int, part: str) -> dict[str, Any]:
    """Every arm and its measurement."""

    def online(run: str, model: str, count: int, **more: Any) -> dict[str, Any]:
        size = {"phases": count, "prompts_per_phase": prompts, "per_prompt": PER_PROMPT}
        return {"run": run, "model": model, "prompts": common.PROMPTS, "online": size,
                "sampling": common.SAMPLING, "train": TRAIN, **more}  # fmt: skip

    term = {"data": [str(pairs)], "weight": 0.5, "pairs_per_step": 16}
    dpo = {"learning_rate": 5.0e-5, "epochs": 6, "segments_per_step": 32}
    fits = {
        "ppo": online("fit.ppo", "@base", phases),
        "grpo": online("fit.grpo", "@base", phases),
        "dpo": {"run": "fit.dpo", "model": "@base", "data": [str(pairs)], "nll": NLL, "train": dpo},
        "dpo_ppo": online("fit.ppo", "@dpo", phases - 1),
        "combined": online("fit.ppo", "@base", phases - 1, preferences=term),
        "dpo_combined": online("fit.ppo", "@dpo", phases - 1, preferences=term),
    }
    found = {"sft_measured": common.measured("@base", part)}
    for name, fit in fits.items():
        found |= {name: fit, f"{name}_measured": common.measured(f"@{name}", part)}
    return found


def cost(run: Made, arm: str, prompts: int) -> tuple[int, float]:
    """Replies sampled, those of the pairs too, and 10^12 operations of training, those of a first
    stage too."""
    folder = run.folders[arm].parents[1]
    parts = ["dpo", arm] if arm in ("dpo_ppo", "dpo_combined") else [arm]
    rows = {part: common.rows_of(folder, part) for part in parts}
    begun = sum(row.get("phase_step") == 1 for own in rows.values() for row in own)
    operations = sum(row["flops"] for own in rows.values() for row in own)
    asked = begun * prompts + (common.ASKED if arm in WITH_PAIRS else 0)
    return asked * PER_PROMPT, operations / 1e12


def against(runs: Sequence[Made], one: str, other: str) -> str:
    """``other`` - ``one``, hundredths of a score, averaged over the seeds item by item."""
    sides, groups = [], {}
    for arm in (one, other):
        found = [common.scores(run.folders[f"{arm}_measured"]) for run in runs]
        groups = found[0][1]
        sides.append([float(np.mean([own[item] for own, _ in found])) for item in groups])
    found_ = paired_comparison(sides[0], sides[1], list(groups.values()), binary=False)
    value, low, high = (100 * x for x in (found_.difference, found_.low, found_.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def page(runs: Sequence[Made], seeds: Sequence[int], phases: int, prompts: int, part: str) -> str:
    """The page in Markdown."""
    rows = []
    for arm in ("sft", *ARMS):
        each = [100 * common.mean_score(run.folders[f"{arm}_measured"])
                for run in runs]  # fmt: skip
        spent = ("0", "0") if arm == "sft" else ("", "")
        if arm in ARMS:
            replies, operations = zip(*(cost(run, arm, prompts) for run in runs), strict=True)
            spent = f"{np.mean(replies):.0f}", f"{np.mean(operations):.2f}"
        rows.append([ARMS.get(arm, "as it starts"), *spent, *[f"{x:.1f}" for x in each],
                     f"{np.mean(each):.1f}",
                     "" if arm == "sft" else against(runs, "sft", arm)])  # fmt: skip
    items = len(common.scores(runs[0].folders["sft_measured"])[0])
    head = [
        "",
        "replies",
        "TFLOP",
        *[f"seed {seed}" for seed in seeds],
        "mean",
        "against the start",
    ]
    parts = [
        ["PPO after DPO against PPO alone", against(runs, "ppo", "dpo_ppo")],
        ["PPO after DPO against DPO alone", against(runs, "dpo", "dpo_ppo")],
        ["the DPO term in PPO (`combined` against PPO)", against(runs, "ppo", "combined")],
        ["the DPO term after DPO", against(runs, "dpo_ppo", "dpo_combined")],
        ["DPO before the combined objective", against(runs, "combined", "dpo_combined")],
    ]
    text = INTRODUCTION.format(items=items, part=part, phases=phases, less=phases - 1,
                               asked=common.ASKED, prompts=prompts, nll=NLL,
                               seeds=", ".join(map(str, seeds)))  # fmt: skip
    return (f"{text}\n{common.table(head, rows)}\n\n## What each part of the hybrid gives\n\n"
            f"{common.table(['', 'difference'], parts)}\n")  # fmt: skip


INTRODUCTION = """# PPO, GRPO, DPO and their hybrids

Made by `python -m benchmarks.policies`. All start from the quickstart's model after instruction
tuning, one model for all seeds; a seed sets what is drawn and sampled after that. The reward is the
prompts' verifier: right +1, declined 0, wrong -1. PPO and GRPO sample {phases} phases of {prompts}
prompts with 4 replies each; the hybrids sample {less}. TFLOP counts all training of an arm, and no
sampling. The pairs come from the start's own 4 replies to each of {asked} prompts (the quickstart's
`curate.generate`), the same for all arms with DPO: DPO,
PPO and GRPO learn from as many replies each. PPO's critic head learns at its own rate
(`critic.rate`, 20); with the policy's, PPO gained 3.8 [-0.0, +7.8] on these items. DPO takes 6
epochs at PPO's rate, with {nll:g} times the chosen replies' own loss; in 2 epochs at 4 times that
rate and once that loss it gained 2.7 [-2.1, +7.6] on these items. All of these were chosen on other
items (the development files; prompts held out of training), rates and phases after a first run at
1e-4 and 8 phases had been measured on these.

The score is the mean of +1 / 0 / -1 over {items} held-out items (`assets/quickstart/{part}`,
greedy; seeds {seeds}) in hundredths. The last column is the paired difference to the start,
averaged over the seeds, with its 95 % interval over items clustered by entity; it does not hold
what other seeds or another start would add.
"""


def main() -> None:
    """Run what is not there yet, and write the page."""
    process.tune()
    given = common.options(__doc__, phases=12)
    begun = common.start(given.work)
    runs = []
    for seed in given.seeds:
        wanted = stages(begun.pairs.resolve(), given.phases, given.prompts, given.part)
        work = given.work.resolve() / f"compare{seed}"
        runs.append(made(wanted, str(begun.sft.resolve()), work, seed))
        text = page(runs, given.seeds[: len(runs)], given.phases, given.prompts, given.part)
        print(text, flush=True)
        if given.part == "eval":
            atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main()
