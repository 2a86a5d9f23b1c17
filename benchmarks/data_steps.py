"""The steps of the scale benchmark; each is run by itself: ``python -m benchmarks.data_steps``."""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.data_sampler import Sampler
from burnish import flow
from burnish.records import Prompt, Rollout
from burnish.rewards import textstats
from burnish.rewards.candidates import of_rollout
from burnish.selection.dedup_parts import dedup

STEPS = ("generate", "score", "dedup", "keep-top")
KEPT_SHARE = 0.5


def scored(part: flow.Part) -> flow.Sifted:
    """Completeness (with the prompt's limit of words), repetition and language; their mean."""
    # Loads torch, which only the processes that score need.
    from burnish.rewards import scorers

    complete = partial(scorers.completeness, settings=scorers.ScorerSettings())
    return flow.Sifted([_scored(record, complete) for record in part.records])


def _scored(rollout: Any, complete: Any) -> Rollout:
    rule = {"rule": "max_words", "n": int(rollout.task)}
    prompt = Prompt(
        id=rollout.prompt_id,
        messages=rollout.prompt,
        verify={"kind": "format", "rules": [rule]},
    )
    scores = {
        "completeness": complete(of_rollout(prompt, rollout)),
        "varied": 1 - textstats.repetition(rollout.completion),
        "language": float(textstats.language_of(rollout.completion) == rollout.lang),
        "short": 1 - min(1.0, len(rollout.completion) / 2000),
    }
    return replace(rollout, scores=scores, reward=sum(scores.values()) / len(scores))


def standing(part: flow.Part) -> dict[str, Any]:
    """What the global choice needs of a part: topic and reward of each record."""
    return {
        "topics": np.array([record.topic for record in part.records], dtype="U24"),  # type: ignore[attr-defined]
        "rewards": np.array([record.reward for record in part.records]),  # type: ignore[attr-defined]
    }


def keep_best(part: flow.Part, best: Path) -> flow.Sifted:
    """The records that are among the best of their topic."""
    kept = np.load(best / f"{part.index}.npy")
    pairs = list(zip(part.records, kept.tolist(), strict=True))
    return flow.Sifted(
        [record for record, good in pairs if good],
        [flow.Removed(record.id, "not among the best") for record, good in pairs if not good],
    )


def keep_top(source: flow.Source, output: Path, executor: flow.Executor) -> flow.Report:
    """The best share of every topic; of equal ones the first."""
    work = output.with_name("standing")
    arrays = flow.Arrays(source, standing, work)
    flow.execute(arrays, len(source), executor)
    topics, rewards = arrays.gather("topics"), arrays.gather("rewards")
    chosen = np.zeros(len(topics), dtype=bool)
    for topic in np.unique(topics):
        members = np.flatnonzero(topics == topic)
        ranked = members[np.argsort(-rewards[members], kind="stable")]
        chosen[ranked[: math.ceil(KEPT_SHARE * len(ranked))]] = True
    first = 0
    for index in range(len(source)):
        size = len(arrays.load(index, "rewards"))
        np.save(work / f"{index}.npy", chosen[first : first + size])
        first += size
    step = flow.Step("keep-top", partial(keep_best, best=work), {"share": KEPT_SHARE})
    return flow.run(source, output, [step], Rollout, executor)


def run(name: str, folder: Path, count: int, executor: flow.Executor) -> flow.Report:
    """One step over what the step before it left in ``folder``."""
    before = {"score": "generate", "dedup": "score", "keep-top": "dedup"}.get(name)
    source: flow.Source = (
        Sampler(count) if before is None else flow.PartsFolder(folder / before, Rollout)
    )
    output = folder / name
    if name == "generate":
        return flow.run(source, output, [], Rollout, executor)
    if name == "score":
        return flow.run(source, output, [flow.Step("score", scored)], Rollout, executor)
    if name == "dedup":
        return dedup(source, output, Rollout, executor=executor)
    return keep_top(source, output, executor)


def main() -> None:
    """Run one step and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--workers", default="2")
    args = parser.parse_args()
    began = time.monotonic()
    report = run(args.step, args.folder, args.count, flow.Executor.parse(args.workers))
    seconds = time.monotonic() - began
    removed = sum(report.removed.values())
    found = {"seconds": seconds, "kept": report.kept, "removed": removed}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
