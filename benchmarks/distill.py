"""A student after distillation against the same student after plain training on the same data.

    python -m benchmarks.distill --work runs/distill
    python -m benchmarks.distill --work runs/distill --teacher runs/quickstart/artifacts/sft@1

The page benchmarks/RESULTS-distill.md says what is done; it is written by this program.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.selection import (
    SHIPPED,
    Right,
    averaged,
    difference,
    instructed,
    made,
    right,
    shown,
)
from burnish.evals.perplexity import (
    DocumentLosses,
    document_losses,
    perplexity,
    perplexity_ratio,
)
from burnish.models.forward import token_divergences
from burnish.models.load import Loaded, load_model
from burnish.records import Document
from burnish.store import atomic, tables
from burnish.text.batches import batches
from burnish.text.documents import document_segments

PAGE = Path(__file__).with_name("RESULTS-distill.md")
TASKS = ("atlas_seen", "atlas_explored", "atlas_heldout", "atlas_unknown")
DEPTH = 2
GENERAL = 150
"""General documents that the students read."""
SAMPLING = {"temperature": 1.0, "max_new_tokens": 32}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("plain training on the text", {"hard": 1}),
    "forward": ("forward KL", {}),
    "mixed": ("Jensen-Shannon, beta 0.5", {"divergence": "jensen_shannon"}),
    "kept": ("forward KL, 16 tokens kept on disk", {"top_k": 16}),
    "own": ("Jensen-Shannon, half of the replies the student's own",
            {"divergence": "jensen_shannon", "on_policy": 0.5, "sampling": SAMPLING}),
    "replies": ("plain training on the teacher's own replies",
                {"hard": 1, "replies": "teacher", "sampling": {**SAMPLING, "temperature": 0.0}}),
}  # fmt: skip
"""Every way of training the student: what it is, and its settings of ``fit.distill``."""
PLAIN = "text"


def shipped(name: str) -> str:
    return f"burnish:quickstart/{name}.jsonl.gz"


def evaluation(model: str) -> dict[str, Any]:
    tasks = [{"name": name, "data": shipped(f"eval/{name}"), "metric": "right"} for name in TASKS]
    return {"run": "measure.evaluate", "model": model, "tasks": tasks,
            "sampling": {"temperature": 0.0, "max_new_tokens": 24}}  # fmt: skip


def stages(general: Path, arms: Sequence[str]) -> dict[str, Any]:
    """The arms of one seed, trained and measured; the teacher is ``@base``."""
    found: dict[str, Any] = {"teacher": evaluation("@base")}
    for arm in arms:
        found[f"fit_{arm}"] = {
            "run": "fit.distill", "model": "@base", "teacher": "@base", "depth": DEPTH,
            "data": [shipped("sft")], "documents": [shipped("atlas_docs"), str(general)],
            "sequence_length": 128,
            "train": {"learning_rate": 2.0e-3, "epochs": 2, "segments_per_step": 64},
            **ARMS[arm][1],
        }  # fmt: skip
        found[arm] = evaluation(f"@fit_{arm}")
    return found


@dataclass(frozen=True)
class Run:
    """One seed: what each arm answered rightly, and on general documents that it never saw its
    losses, and the mean divergence from the teacher (forward KL, nats a token)."""

    answers: Mapping[str, Right]
    groups: Mapping[str, str]
    losses: Mapping[str, DocumentLosses]
    apart: Mapping[str, float]
    details: Mapping[str, Mapping[str, Any]]


def run_seed(base: Path, work: Path, seed: int, arms: Sequence[str]) -> Run:
    drawn = tables.read(SHIPPED / "general.jsonl.gz", Document)
    general = work.resolve() / "general.jsonl"
    tables.write(general, random.Random(0).sample(drawn, GENERAL))
    run = made(stages(general, arms), str(base), work, seed)
    documents = tables.read(SHIPPED / "general_heldout.jsonl.gz", Document)
    answers, groups, losses, apart = {}, {}, {}, {}
    knows = load_model(base)
    for arm in ("teacher", *arms):
        answers[arm], more = right(run.folders[arm])
        groups |= more
        loaded = load_model(base if arm == "teacher" else run.folders[f"fit_{arm}"])
        losses[arm] = document_losses(loaded.model, loaded.tokenizer, documents, length=128)
        apart[arm] = distance(loaded, knows, documents)
    details = {
        arm: json.loads((run.folders[f"fit_{arm}"] / "artifact.json").read_text())["details"]
        for arm in arms
    }
    return Run(answers, groups, losses, apart, details)


@torch.no_grad()
def distance(student: Loaded, teacher: Loaded, documents: Sequence[Document]) -> float:
    """Mean ``KL(teacher | student)`` over all tokens of the documents."""
    rows = document_segments(student.tokenizer, documents, 128)
    parts = [token_divergences(student.model, teacher.model, batch)
             for _, batch in batches(rows, 4096)]  # fmt: skip
    return float(torch.cat(parts).mean())


def mean_losses(runs: Sequence[Run], arm: str) -> DocumentLosses:
    """Each document's losses, averaged over the seeds."""
    return averaged([run.losses[arm] for run in runs])


def knowledge(runs: Sequence[Run], arm: str) -> float:
    """Per cent of all items right, mean of the seeds."""
    shares = [np.mean([v for t in TASKS for v in run.answers[arm][t].values()]) for run in runs]
    return 100 * float(np.mean(shares))


def page(seeds: Sequence[int], runs: Sequence[Run]) -> str:
    first, plain_fit = runs[0], runs[0].details[PLAIN]
    sizes = [plain_fit["teacher_parameters"], plain_fit["parameters"]]
    items = sum(len(first.answers[PLAIN][task]) for task in TASKS)
    lines = [
        INTRODUCTION.format(
            teacher=sizes[0], student=sizes[1], depth=DEPTH, examples=plain_fit["examples"],
            pieces=plain_fit["pieces"], general=GENERAL, seeds=", ".join(map(str, seeds)),
            items=items, documents=len(first.losses[PLAIN].nats),
        ),
        "| student trained by | knowledge, % right | against plain training, points | "
        "perplexity | over plain training's | KL from the teacher |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    plain = mean_losses(runs, PLAIN)
    for arm, (about, _) in ARMS.items():
        if arm not in first.answers:
            continue
        own = mean_losses(runs, arm)
        apart = over = "–"
        if arm != PLAIN:
            sides = [[run.answers[one] for run in runs] for one in (PLAIN, arm)]
            apart = difference(*sides, first.groups, TASKS)
            over = shown(perplexity_ratio(own, plain), 3)
        far = np.mean([run.apart[arm] for run in runs])
        lines.append(f"| {about} | {knowledge(runs, arm):.1f} | {apart} | "
                     f"{shown(perplexity(own), 1)} | {over} | {far:.3f} |")  # fmt: skip
    lines += [
        f"| *the teacher itself* | {knowledge(runs, 'teacher'):.1f} | | "
        f"{shown(perplexity(mean_losses(runs, 'teacher')), 1)} | | 0 |",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


INTRODUCTION = """# Distillation against plain training

Made by `python -m benchmarks.distill`. The teacher is the quickstart's `burnish-tiny` after
post-pretraining and instruction ({teacher:,} parameters, seed 0). Every student is the same one:
{depth} of its layers ({student:,} parameters), trained for two epochs on the same {examples}
conversations and {pieces} pieces of documents (the domain's and {general} general ones) with the
same settings, by `fit.distill`. With plain training the text itself is learnt (`hard: 1`); else the
teacher's next-token distributions at each token of it. Seeds ({seeds}) set the order and what
is held out.

Knowledge: {items} final questions, greedy replies checked by the items' verifiers. Perplexity:
{documents} general documents that none of them was trained on; the last column is the forward
KL, nats a token, on the same. Intervals (95 %) are over items, clustered by entity, or over
documents, of the mean over the seeds; they do not hold what other seeds or another teacher would
add. Nothing was tuned.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True, help="kept, so that it can continue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--teacher", type=Path, help="instead of one made as the quickstart's")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS)[1:], default=list(ARMS)[1:],
                        help="beside plain training; all by default")  # fmt: skip
    given = parser.parse_args()
    base = (given.teacher or instructed(given.work / "teacher", 0)).resolve()
    runs = []
    for seed in given.seeds:
        begun = time.monotonic()
        runs.append(run_seed(base, given.work / f"seed{seed}", seed, [PLAIN, *given.arms]))
        print(f"seed {seed}: {time.monotonic() - begun:.0f} s", flush=True)
    text = page(given.seeds, runs)
    print(text)
    atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main()
