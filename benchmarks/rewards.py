"""A reward ensemble against its members, on pairs it was trained to rank and on others.

    python -m benchmarks.rewards --work runs/rewards

The page benchmarks/RESULTS-rewards.md says what is done; it is written by this program.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.selection import instructed, made, quickstart, started
from burnish.cli.one_stage import run_stages
from burnish.engine import SilentProgress
from burnish.evals.ranking import Ranked, accuracy, report
from burnish.evals.statistics import clustered_bootstrap
from burnish.records import Figure, Preference
from burnish.rewards.ensemble import Aggregate
from burnish.rewards.reward_model import RewardModel
from burnish.stages import training, unseen
from burnish.stages.ranking import HELDOUT, scored
from burnish.store import atomic, tables

PAGE = Path(__file__).with_name("RESULTS-rewards.md")
VARY = ("seed", "fold", "base")
LEFT_OUT = (
    ("number", "arithmetic", "poet"),
    ("capital",),
    ("constraints", "copying"),
    ("sorting", "repeating"),
)
"""Topics that are left out of training together, each group in turn."""
SPLIT_SEED = 0
HELDOUT_SHARE, LONGEST = 0.2, 0.1
AGGREGATES = {
    "mean": Aggregate(),
    "min": Aggregate(kind="min"),
    "mean − 1·std": Aggregate(kind="lower", k=1.0),
}
TRAIN = {"learning_rate": 3.0e-4, "epochs": 2, "segments_per_step": 32}
SETS = {
    HELDOUT: "held-out prompts",
    unseen.TOPICS: "topics left out, in turn",
    unseen.LONGEST: "longest tenth",
}
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """One ensemble on one set: accuracies of each member, of each aggregate, and the gain of each
    aggregate over the members' mean accuracy, pair by pair."""

    vary: str
    seed: int
    name: str
    members: list[Figure]
    aggregates: dict[str, Figure]
    gains: dict[str, Array]
    groups: list[str]
    report: Mapping[str, Any]


def preferences(work: Path) -> tuple[Path, Path]:
    """The quickstart's fine-tuned model, and the pairs made of its replies to training prompts."""
    stages = started()
    stages["generate"] = quickstart()["round"]["generate"] | {"model": "@sft"}
    done = run_stages(stages, model="burnish-tiny", work=work / "base", progress=SilentProgress())
    return done.folders["sft"], done.folders["generate"] / "preferences.jsonl"


def divided(
    pairs: Sequence[Preference], topics: Sequence[str]
) -> tuple[list[Preference], dict[str, list[Preference]]]:
    """Pairs to train on, and the sets to measure on, the same for every seed."""
    rest, sets = unseen.take_out(pairs, topics, unseen.Unseen(longest=LONGEST))
    kept, heldout = training.split_heldout(rest, HELDOUT_SHARE, SPLIT_SEED)
    return kept, {HELDOUT: heldout, **sets}


def fitted(
    work: Path, models: Sequence[Path], train: Path, vary: str, seed: int, members: int
) -> Path:
    """An ensemble, through the same stage as any recipe's; of its pairs a tenth is held out.

    Args:
        models: what members start from; those after the first where they vary by base.
    """
    stage = {
        "run": "fit.reward", "model": "@base", "data": [str(train.resolve())], "heldout": 0.1,
        "members": members, "vary": vary, "likelihood": 2.0, "train": TRAIN,
        "bases": [str(one.resolve()) for one in models[1:]] if vary == "base" else [],
    }  # fmt: skip
    place = work / f"{train.stem}-{vary}-{seed}-{members}"
    return made({"reward": stage}, str(models[0].resolve()), place, seed).folders["reward"]


def measured(
    folder: Path, vary: str, seed: int, sets: Mapping[str, Sequence[Preference]]
) -> Iterator[Result]:
    """The ensemble in a folder on each set."""
    model = RewardModel.load(folder)
    for name, part in sets.items():
        ranked = scored(model, part, 4096).ranked
        right = ranked.member_gaps > 0
        gaps = {label: _gaps(ranked, how) for label, how in AGGREGATES.items()}
        yield Result(
            vary=vary,
            seed=seed,
            name=name,
            members=[accuracy(column, ranked.groups) for column in ranked.member_gaps.T],
            aggregates={label: accuracy(gap, ranked.groups) for label, gap in gaps.items()},
            gains={label: (gap > 0) - right.mean(1) for label, gap in gaps.items()},
            groups=list(ranked.groups),
            report=report(ranked),
        )


def _gaps(ranked: Ranked, how: Aggregate) -> Array:
    scores = how.of(torch.from_numpy(ranked.members)).numpy()
    gaps: Array = scores[:, 0] - scores[:, 1]
    return gaps


def page(results: Sequence[Result], pairs: int, members: int) -> str:
    """The results page."""
    seeds = sorted({one.seed for one in results})
    lines = [
        "# Reward ensembles",
        "",
        "Written by `python -m benchmarks.rewards --work runs/rewards`. The quickstart's model"
        " after pre-training and SFT replies to its training prompts; verifiers and scores make"
        f" {pairs} preference pairs. Some topics are left out of training, in turn"
        f" ({'; '.join(', '.join(topics) for topics in LEFT_OUT)}), and each time the longest tenth"
        " and a fifth of the prompts too; of the rest each fit holds out a tenth for itself."
        f" {members} members each, {len(seeds)} seeds, `likelihood: 2.0`. Members differ by `seed`"
        " (order of data), by `fold` (each goes without another part of the groups) or by `base`"
        " (each starts from a model whose pre-training and SFT had another seed). No file of the"
        " quickstart's evaluation is used to measure.",
        "",
        "Intervals are of 95 % over groups (prompts, entities). *Gain* is the accuracy of the"
        " aggregate less the mean accuracy of its members, over all seeds and turns together; pairs"
        " that share a group are drawn together.",
        "",
    ]
    for vary in dict.fromkeys(one.vary for one in results):
        lines += [f"## Members differ by {vary}", ""]
        lines += _gain_table([one for one in results if one.vary == vary])
        lines += _agreement_table([one for one in results if one.vary == vary])
    return "\n".join([*lines, *_verdict(results), ""])


def _gain_table(results: Sequence[Result]) -> list[str]:
    lines = ["| pairs | n | members, mean (range) | " + " | ".join(
        f"{label} (gain)" for label in AGGREGATES) + " |",
        "| --- | --- | --- |" + " --- |" * len(AGGREGATES)]  # fmt: skip
    for name, shown in SETS.items():
        own = [one for one in results if one.name == name]
        pairs = sum(len(one.groups) for one in own) // len({one.seed for one in own})
        values = [figure.value for one in own for figure in one.members]
        cells = []
        for label in AGGREGATES:
            value = float(np.mean([one.aggregates[label].value for one in own]))
            cells.append(f"{100 * value:.1f} % ({_points(gain(own, label))})")
        members = (
            f"{100 * np.mean(values):.1f} % ({100 * min(values):.1f} – {100 * max(values):.1f})"
        )
        lines.append(f"| {shown} | {pairs} | {members} | " + " | ".join(cells) + " |")
    return [*lines, ""]


def _agreement_table(results: Sequence[Result]) -> list[str]:
    lines = ["| pairs | ECE of the mean | all members agree | right where they agree | where not |"
             " score ~ length |", "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for name, shown in SETS.items():
        reports = [one.report for one in results if one.name == name]
        ece = np.mean([one["calibration"]["before"]["error"] for one in reports])
        agreement = [one["agreement"] for one in reports]
        cells = [
            _mean_share([one[key] for one in agreement if key in one])
            for key in ("all_agree", "agree", "disagree")
        ]
        length = np.mean([one["length"]["gaps"]["value"] for one in reports])
        lines.append(f"| {shown} | {ece:.3f} | " + " | ".join(cells) + f" | {length:+.2f} |")
    return [*lines, ""]


def _mean_share(figures: Sequence[Mapping[str, float]]) -> str:
    if not figures:
        return "–"
    pairs = round(float(np.mean([one["n"] for one in figures])))
    return f"{100 * np.mean([one['value'] for one in figures]):.1f} % (n ≈ {pairs})"


def gain(results: Sequence[Result], label: str) -> Figure:
    """The mean gain of an aggregate over its members, in shares."""
    values = np.concatenate([one.gains[label] for one in results])
    groups = [group for one in results for group in one.groups]
    return clustered_bootstrap(values, groups)


def _points(figure: Figure) -> str:
    value, low, high = (100 * end for end in (figure.value, figure.low, figure.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _verdict(results: Sequence[Result]) -> list[str]:
    """Which gains differ from none, in words."""
    lines = ["## What differs from nothing", ""]
    for vary in dict.fromkeys(one.vary for one in results):
        for name, shown in SETS.items():
            own = [one for one in results if (one.vary, one.name) == (vary, name)]
            for label in AGGREGATES:
                found = gain(own, label)
                if found.low > 0 or found.high < 0:
                    way = "beats" if found.low > 0 else "is below"
                    lines.append(f"- {vary}, {shown}: {label} {way} its members by "
                                 f"{_points(found)} points.")  # fmt: skip
    looked = len(AGGREGATES) * len({(one.vary, one.name) for one in results})
    note = f"{looked} intervals were looked at; of such, one in twenty excludes 0 by chance."
    return [*(lines if len(lines) > 2 else [*lines, "No gain's interval excludes 0."]), "", note]


def main() -> None:
    """Make the pairs, fit the ensembles, measure them and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--members", type=int, default=3)
    parser.add_argument("--vary", nargs="+", default=list(VARY), choices=VARY)
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    model, file = preferences(given.work)
    pairs = tables.read(file, Preference)
    models = [model]
    if "base" in given.vary:
        models += [instructed(given.work / f"base{seed}", seed) for seed in range(1, given.members)]
    results: list[Result] = []
    for vary in given.vary:
        for turn, topics in enumerate(LEFT_OUT):
            kept, sets = divided(pairs, topics)
            train = given.work / f"train{turn}.jsonl"
            tables.write(train, kept)
            for seed in range(given.seeds):
                folder = fitted(given.work, models, train, vary, seed, given.members)
                results += measured(folder, vary, seed, sets)
        atomic.write_text(given.out, page(results, len(pairs), given.members))


if __name__ == "__main__":
    main()
