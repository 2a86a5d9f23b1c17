"""The steps of the scale benchmark; each is run by itself: ``python -m benchmarks.data_steps``."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from benchmarks.data_sampler import Sampler
from burnish import flow
from burnish.records import Document, Example, Prompt, Rollout, Tier
from burnish.rewards import textstats
from burnish.rewards.candidates import of_rollout
from burnish.selection.dedup_parts import dedup

BEFORE = {
    "score": "generate",
    "dedup": "score",
    "select": "score",
    "examples": "dedup",
    "mix": "examples",
    "documents": "generate",
    "clean": "documents",
}
"""What each step works on: what another one left."""
STEPS = ("generate", *BEFORE)
TIERS: tuple[Tier, ...] = ("bulk", "bulk", "selected", "bulk", "expert", "bulk", "bulk")
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


def as_example(part: flow.Part) -> flow.Sifted:
    """Examples of three tiers, one human in four."""
    return flow.Sifted([_example(cast(Rollout, record)) for record in part.records])


def _example(one: Rollout) -> Example:
    number = int(one.id)
    return Example(
        id=one.id,
        source=one.source,
        lang=one.lang,
        tier=TIERS[number % len(TIERS)],
        synthetic=number % 4 != 0,
        messages=[*one.prompt, {"role": "assistant", "content": one.completion}],
        task=one.topic,
    )


def as_document(part: flow.Part) -> flow.Sifted:
    """Replies as pages of one site, with its name above them."""
    return flow.Sifted([_document(cast(Rollout, record)) for record in part.records])


def _document(one: Rollout) -> Document:
    text = f"The name of the site\n{one.completion}"
    return Document(id=one.id, source=one.source, lang=one.lang, text=text)


def run(name: str, folder: Path, count: int, executor: flow.Executor) -> tuple[int, int]:
    """One step over what the step before it left in ``folder``: records in, records kept."""
    output = folder / name
    if name == "generate":
        source: flow.Source = Sampler(count)
        return count, flow.run(source, output, [], Rollout, executor).kept
    rollouts = flow.PartsFolder(folder / BEFORE[name], Rollout)
    entered = sum(rollouts.count(index) for index in range(len(rollouts)))
    if name == "score":
        report = flow.run(rollouts, output, [flow.Step("score", scored)], Rollout, executor)
    elif name == "examples":
        report = flow.run(rollouts, output, [flow.Step("examples", as_example)], Example, executor)
    elif name == "documents":
        step = flow.Step("documents", as_document)
        report = flow.run(rollouts, output, [step], Document, executor)
    elif name == "dedup":
        report = dedup(rollouts, output, Rollout, executor=executor)
    else:
        return entered, command(name, folder / BEFORE[name], output, flow.Means(executor))
    return entered, report.kept


def command(name: str, data: Path, output: Path, means: flow.Means) -> int:
    """What ``burnish data select``, ``mix`` and ``clean`` run; how many records are left."""
    # Each loads what only it needs.
    if name == "select":
        from burnish.selection.choose import SelectSettings
        from burnish.selection.select import select

        settings = SelectSettings(keep_top=KEPT_SHARE, share=0.3)
        file = output.with_suffix(".jsonl")
        work = flow.work_folder(file)
        return select([data], Rollout, file, work, settings, score="reward", means=means).kept
    if name == "mix":
        from burnish.selection.mix import MixSettings
        from burnish.selection.mix_parts import mix

        file = output.with_suffix(".jsonl")
        found = mix([data], file, flow.work_folder(file), MixSettings(), 0, means)
        return found.after.examples
    from burnish.selection.clean_settings import CleanSettings
    from burnish.selection.corpus import clean

    # Random words keep none of the rules of quality.
    report = clean([data], output, flow.work_folder(output), CleanSettings(quality=None), (), means)
    return report.documents[1]


def main() -> None:
    """Run one step and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--workers", default="2")
    args = parser.parse_args()
    began = time.monotonic()
    executor = flow.Executor.parse(args.workers)
    entered, kept = run(args.step, args.folder, args.count, executor)
    seconds = time.monotonic() - began
    found = {"seconds": seconds, "kept": kept, "removed": entered - kept}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
