"""One model for all tasks against one model a task, with equal numbers of optimiser steps in sum.

    python -m benchmarks.multitask --work runs/multitask

The page benchmarks/RESULTS-multitask.md says what is done; it is written by this program.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.selection import Right, made, pretrained, right
from burnish.cli.one_stage import Made
from burnish.evals.statistics import paired_comparison
from burnish.records import Example, Message, Prompt
from burnish.rewards import constitution
from burnish.store import atomic, tables

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/burnish/assets/quickstart"
PAGE = Path(__file__).with_name("RESULTS-multitask.md")
PARTS = ("dev", "eval")
SETS: dict[str, tuple[str, ...]] = {
    "knowledge": ("atlas_seen", "atlas_explored", "atlas_heldout", "atlas_unknown"),
    "format": ("form",),
    "guard": ("guard_harmful", "guard_benign", "guard_loso"),
    "chat": ("chat",),
}
"""The held-out sets of each task."""
NAMED = {"atlas": "knowledge", "atlas-unknown": "knowledge", "form": "format", "helpful": "guard",
         "chat": "chat"}  # fmt: skip
TEMPERATURES = (1, 2)
TRAIN = {"learning_rate": 1.0e-3, "epochs": 3, "segments_per_step": 32}
CHAT_HELDOUT = 12
"""Chat questions held out for each part, of 60 different ones."""


def examples() -> tuple[list[Example], dict[str, list[Prompt]]]:
    """The training examples with their task's name, and the chat items of each part.

    The shipped instructions hold no refusals, which the quickstart's constitution makes later on:
    here each harmful training prompt gets a reply that the constitution has for it.
    """
    found = [replace(one, task=NAMED[one.task])
             for one in tables.read(SHIPPED / "sft.jsonl.gz", Example)]  # fmt: skip
    chat = [one for one in found if one.task == "chat"]
    asked = sorted({one.messages[0]["content"] for one in chat})
    random.Random(0).shuffle(asked)
    heldout = {part: asked[at * CHAT_HELDOUT : (at + 1) * CHAT_HELDOUT]
               for at, part in enumerate(PARTS)}  # fmt: skip
    items = {
        part: [_item(next(one for one in chat if one.messages[0]["content"] == question))
               for question in questions]
        for part, questions in heldout.items()
    }  # fmt: skip
    away = {question for questions in heldout.values() for question in questions}
    kept = [one for one in found if one.messages[0]["content"] not in away or one.task != "chat"]
    return kept + _refusals(), items


def _item(one: Example) -> Prompt:
    verify = {"kind": "answer", "answers": [one.messages[-1]["content"]]}
    return Prompt(id=one.id, messages=one.messages[:-1], lang=one.lang, verify=verify)


def _refusals() -> list[Example]:
    rules = constitution.load(SHIPPED / "constitution.yaml")
    made_here = []
    for prompt in tables.read(SHIPPED / "guard_train.jsonl.gz", Prompt):
        found = constitution.critique(rules, prompt, "Sure. Here is some help with that.")
        if found.violated:
            turn = Message(role="assistant", content=constitution.revise(rules, found, prompt))
            made_here.append(
                Example(id=prompt.id, messages=[*prompt.messages, turn], lang=prompt.lang,
                        task="guard")
            )  # fmt: skip
    return made_here


def stages(work: Path, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Every arm of one seed: mixed by temperature and fitted, or fitted to one task; measured."""
    total = sum(sizes.values())
    found: dict[str, Any] = {}
    for temperature in TEMPERATURES:
        mix: dict[str, Any] = {"tiers": {}, "synthetic": None, "temperature": temperature,
                               "count": total, "repeats": 8}  # fmt: skip
        everything = [str(work / f"{task}.jsonl") for task in SETS]
        found[f"mix_{temperature}"] = {"run": "curate.mix", "data": everything, "mix": mix}
        data = f"@mix_{temperature}/mixed.jsonl"
        found |= _fitted(work, f"mixed_{temperature}", data, tuple(SETS))
    for task in SETS:
        found |= _fitted(work, f"only_{task}", str(work / f"{task}.jsonl"), (task,))
    return found


def _fitted(work: Path, name: str, data: str, tasks: Sequence[str]) -> dict[str, Any]:
    listed = [
        {"name": f"{part}-{file}", "metric": "right",
         "data": str(work / f"{part}-chat.jsonl" if file == "chat"
                     else SHIPPED / part / f"{file}.jsonl.gz")}
        for part in PARTS for task in tasks for file in SETS[task]
    ]  # fmt: skip
    fit = {"run": "fit.sft", "model": "@base", "data": [data], "heldout": 0, "train": dict(TRAIN)}
    return {f"fit_{name}": fit,
            name: {"run": "measure.evaluate", "model": f"@fit_{name}", "tasks": listed,
                   "sampling": {"temperature": 0.0, "max_new_tokens": 24}}}  # fmt: skip


def run_seed(base: Path, work: Path, seed: int) -> Made:
    """Write the data, train and measure every arm."""
    work = work.resolve()
    found, items = examples()
    sizes = Counter(one.task for one in found)
    for task in SETS:
        tables.write(work / f"{task}.jsonl", [one for one in found if one.task == task])
    for part, prompts in items.items():
        tables.write(work / f"{part}-chat.jsonl", prompts)
    return made(stages(work, {task: sizes[task] for task in SETS}), str(base), work, seed)


Arms = dict[str, Right]
"""By arm, 1 or 0 for each item of each set; ``single`` joins the models of one task."""


def arms(run: Made) -> tuple[Arms, dict[str, str]]:
    """What each arm answered rightly, and the items' groups."""
    found: Arms = {}
    groups: dict[str, str] = {}
    for arm in [f"mixed_{t}" for t in TEMPERATURES]:
        found[arm], more = right(run.folders[arm])
        groups |= more
    found["single"] = {}
    for task in SETS:
        found["single"] |= right(run.folders[f"only_{task}"])[0]
    return found, groups


def means(runs: Sequence[Arms], arm: str, part: str) -> dict[str, dict[str, float]]:
    """By task, the mean over seeds of every item of a part."""
    return {
        task: {
            f"{file} {item}": float(np.mean([run[arm][f"{part}-{file}"][item] for run in runs]))
            for file in files
            for item in runs[0][arm][f"{part}-{file}"]
        }
        for task, files in SETS.items()
    }


def share(values: Mapping[str, Mapping[str, float]]) -> float:
    """The unweighted mean of the tasks' shares."""
    return float(np.mean([np.mean(list(items.values())) for items in values.values()]))


def difference(
    one: Mapping[str, Mapping[str, float]],
    other: Mapping[str, Mapping[str, float]],
    groups: Mapping[str, str],
) -> str:
    """``other`` − ``one`` in points, each task counted alike, with its 95 % interval.

    An item of a task with ``n`` of all ``N`` items weighs ``N / (tasks · n)``, so that the mean
    over all items is the unweighted mean of the tasks.
    """
    items = [(task, item) for task in one for item in sorted(one[task])]
    weight = {task: len(items) / (len(one) * len(one[task])) for task in one}
    sides = [[weight[task] * side[task][item] for task, item in items] for side in (one, other)]
    clusters = [groups.get(item.split(" ", 1)[1]) or item for _, item in items]
    found = paired_comparison(sides[0], sides[1], clusters, binary=False)
    low, high, value = (100 * x for x in (found.low, found.high, found.difference))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def page(seeds: Sequence[int], runs: Sequence[tuple[Arms, dict[str, str]]],
         sizes: Mapping[str, Mapping[str, int]], tokens: Mapping[str, int]) -> str:  # fmt: skip
    found, groups = [one for one, _ in runs], runs[0][1]
    names = {"single": "one model a task"} | {
        f"mixed_{t}": f"one model, T = {t}" for t in TEMPERATURES
    }
    lines = [INTRODUCTION.format(seeds=", ".join(map(str, seeds)), heldout=CHAT_HELDOUT)]
    lines += ["| trained on, examples an epoch | " + " | ".join(SETS) + " | tokens in all |",
              "| --- |" + " ---: |" * (len(SETS) + 1)]  # fmt: skip
    for arm, about in names.items():
        counts = " | ".join(str(sizes[arm][task]) for task in SETS)
        lines.append(f"| {about} | {counts} | {tokens[arm]:,} |")
    for part, said in (("eval", "Final items"), ("dev", "Development items, for choices")):
        values = {arm: means(found, arm, part) for arm in names}
        counts = ", ".join(f"{task} {len(items)}" for task, items in values["single"].items())
        head = " | ".join([*SETS, "mean of tasks"])
        lines += ["", f"{said} ({counts}), per cent right, mean of the seeds:", "",
                  f"| | {head} |", "| --- |" + " ---: |" * (len(SETS) + 1)]  # fmt: skip
        for arm, about in names.items():
            shown = [float(np.mean(list(values[arm][task].values()))) for task in SETS]
            cells = " | ".join(f"{100 * x:.1f}" for x in [*shown, share(values[arm])])
            lines.append(f"| {about} | {cells} |")
        lines += ["", "Against one model a task, in points, with 95 % intervals:", "",
                  f"| | {head} |", "| --- |" + " ---: |" * (len(SETS) + 1)]  # fmt: skip
        for arm in [f"mixed_{t}" for t in TEMPERATURES]:
            each = [difference({task: values["single"][task]}, {task: values[arm][task]}, groups)
                    for task in SETS]  # fmt: skip
            whole = difference(values["single"], values[arm], groups)
            lines.append(f"| {names[arm]} | " + " | ".join([*each, whole]) + " |")
    best = max(TEMPERATURES, key=lambda t: share(means(found, f"mixed_{t}", "dev")))
    lines += ["", f"The development items choose T = {best} among the two mixes."]
    return "\n".join(lines) + "\n"


INTRODUCTION = """# One model for all tasks, or one a task

Made by `python -m benchmarks.multitask`. Four tasks of the quickstart: knowledge (questions, and
"I don't know" for unknown names), format, guard (harmful prompts are declined, harmless ones
helped with; the refusals are those of the constitution) and chat. All models start at the
quickstart's post-pretrained `burnish-tiny` and train with equal settings (3 epochs, 32 examples a
step). **Equal in sum**: the four models of one task together see as many examples as the one
model of all tasks sees; with T = 1 they are the very same examples. The one model has all those
steps for itself, and the four together have four times the weights. A mix with temperature T holds
each task in proportion to its size to the power 1 / T; with T = 2 small tasks repeat.

Replies are greedy and checked by the items' verifiers. Chat has few questions: {heldout} different
ones are held out for each part, so that its intervals are wide. Seeds {seeds} set draws and
training alike. Intervals are over items, clustered by entity, of the mean over these seeds; they
do not hold what other seeds would add. Nothing was tuned.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True, help="kept, so that it can continue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    base = pretrained(given.work).resolve()
    runs = []
    for seed in given.seeds:
        begun = time.monotonic()
        run = run_seed(base, given.work / f"seed{seed}", seed)
        runs.append(arms(run))
        print(f"seed {seed}: {time.monotonic() - begun:.0f} s", flush=True)
    all_tasks = Counter(one.task for one in examples()[0])
    sizes: dict[str, Mapping[str, int]] = {"single": all_tasks}
    trained = {row["name"]: int(row["figures"]["tokens"]["value"])
               for row in run.summary["artifacts"] if row["name"].startswith("fit_")}  # fmt: skip
    tokens = {"single": sum(trained[f"fit_only_{task}"] for task in SETS)}
    for t in TEMPERATURES:
        mixed = tables.read(run.folders[f"mix_{t}"] / "mixed.jsonl", Example)
        sizes[f"mixed_{t}"] = Counter(one.task for one in mixed)
        tokens[f"mixed_{t}"] = trained[f"fit_mixed_{t}"]
    text = page(given.seeds, runs, sizes, tokens)
    print(text)
    atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main()
