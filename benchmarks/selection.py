"""What selection is worth: training on a chosen fifth of a damaged pool against a random fifth.

    python -m benchmarks.selection --work runs/selection                 the final figures
    python -m benchmarks.selection --work runs/selection-dev --part dev --seeds 0

The page benchmarks/RESULTS-selection.md says what is done; it is written by this program.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from burnish import recipes
from burnish.cli.one_stage import Made, run_stages
from burnish.engine import SilentProgress
from burnish.evals.compare import item_values
from burnish.evals.perplexity import DocumentLosses
from burnish.evals.statistics import paired_comparison
from burnish.models.load import load_model
from burnish.records import Example, Figure, Prompt, Rollout
from burnish.rewards import scorers, scoring
from burnish.rewards.scorers import Calibration, Resources, ScorerSettings
from burnish.store import atomic, tables

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/burnish/assets/quickstart"
PAGE = Path(__file__).with_name("RESULTS-selection.md")
TASKS = ("form", "atlas_seen", "atlas_explored", "atlas_heldout", "atlas_unknown")
TRUSTED, CALIBRATION = 300, 100
SHARE = 0.2
DAMAGED = {"wrong": 0.15, "cut": 0.1, "off_topic": 0.1}
ORIGINALS, COPIES = 100, 5
OPENINGS = {
    "en": ("Please answer: ", "Question: ", "Quick question. ", "Tell me: ", "One more: "),
    "zh": ("请回答：", "问题：", "请问，", "告诉我：", "再问一个："),
}
PLAIN = {"exact": False, "near": None, "semantic": None}
ARMS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "random": ("a random fifth", None),
    "top": ("the fifth of the highest scores", {**PLAIN, "keep_top": SHARE, "within": "source"}),
    "spread": ("deduplicated, a balanced fifth without scores", {"share": SHARE}),
    "selected": ("deduplicated, balanced, highest scores first", {"share": SHARE}),
    "undamaged": ("a random fifth without damage or copies", None),
}
TRAIN = {"learning_rate": 1.0e-3, "epochs": 3, "segments_per_step": 32}


@dataclass(frozen=True)
class Pool:
    """Trusted examples, the pool, and what was done to each of its records by id."""

    trusted: list[Example]
    records: list[Example]
    kind: dict[str, str]


def make_pool(seed: int) -> Pool:
    """The shipped instructions: some trusted, the others a pool of which a known part is damaged.

    A wrong reply is that of another prompt of its task and language; one off topic that of another
    task; a cut one has lost the second half of its characters. Copies differ in their opening.
    """
    draw = random.Random(seed)
    found = tables.read(SHIPPED / "sft.jsonl.gz", Example)
    draw.shuffle(found)
    trusted, rest = found[:TRUSTED], found[TRUSTED:]
    places = list(range(len(rest)))
    draw.shuffle(places)
    kind = {one.id: "clean" for one in rest}
    records = list(rest)
    replies = replies_of(rest)
    for name, share in DAMAGED.items():
        for _ in range(round(share * len(rest))):
            place = places.pop()
            records[place] = damaged(rest[place], name, replies, draw)
            kind[records[place].id] = name
    for place in places[:ORIGINALS]:
        one = rest[place]
        for opening in OPENINGS[one.lang][:COPIES]:
            turn = {**one.messages[0], "content": opening + one.messages[0]["content"]}
            copy = replace(one, id=f"{one.id}{opening}", messages=[turn, *one.messages[1:]])
            records.append(copy)
            kind[copy.id] = "copy"
    draw.shuffle(records)
    return Pool(trusted, [replace(one, source="pool") for one in records], kind)


Replies = dict[str, dict[str, set[str]]]
"""By language and task."""


def replies_of(examples: Sequence[Example]) -> Replies:
    found: Replies = {}
    for one in examples:
        tasks = found.setdefault(one.lang, {})
        tasks.setdefault(one.task, set()).add(one.messages[-1]["content"])
    return found


def damaged(one: Example, name: str, replies: Replies, draw: random.Random) -> Example:
    """The example with a reply that is wrong, cut or off topic."""
    reply = one.messages[-1]["content"]
    if name == "cut" and len(reply) > 1:
        changed = reply[: len(reply) // 2]
    else:
        tasks = replies[one.lang]
        others = set().union(*(tasks[task] for task in tasks if task != one.task))
        # Where a task has one reply only, every wrong one is off topic.
        same = others if name == "off_topic" else tasks[one.task]
        changed = draw.choice(sorted(same - {reply} or others - {reply}))
    return replace(one, messages=[*one.messages[:-1], {"role": "assistant", "content": changed}])


def scores(model: Path, pool: Pool) -> list[float]:
    """The default scorers (0.4 relevance, 0.3 completeness, 0.3 fluency) under a model that was
    fitted to the trusted examples, read against trusted ones it was not fitted to."""
    loaded = load_model(str(model))
    real = [(one.messages[:-1], one.messages[-1]["content"]) for one in pool.trusted[-CALIBRATION:]]
    calibration: Calibration = scorers.calibrate(loaded.model, loaded.tokenizer, real)
    resources = Resources(loaded.model, loaded.tokenizer, calibration)
    prompts = {one.id: Prompt(id=one.id, messages=one.messages[:-1], lang=one.lang)
               for one in pool.records}  # fmt: skip
    rollouts = [
        Rollout(
            id=one.id, prompt_id=one.id, prompt=one.messages[:-1], lang=one.lang,
            completion=one.messages[-1]["content"], tokens=[], logprobs=[], finish="stop",
            temperature=1.0, top_p=1.0, seed=0, scores={},
        )
        for one in pool.records
    ]  # fmt: skip
    settings = ScorerSettings()
    found = scoring.score(prompts, rollouts, settings, resources)
    return [scoring.aggregate(one, settings) for one in found]


def pretrained(work: Path) -> Path:
    """The quickstart's post-pretrained model."""
    stages = {"pretrain": quickstart()["prepare"]["pretrain"]}
    return made(stages, "burnish-tiny", work / "pretrain", 0).folders["pretrain"]


def instructed(work: Path, seed: int) -> Path:
    """The quickstart's model after post-pretraining and instruction."""
    return made(started(), "burnish-tiny", work, seed).folders["sft"]


def started() -> dict[str, Any]:
    """The quickstart's stages before its first round."""
    return {name: quickstart()["prepare"][name] for name in ("pretrain", "sft")}


def quickstart() -> dict[str, Any]:
    """The quickstart's recipe."""
    text = recipes.resolve("quickstart").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def made(stages: Mapping[str, Any], model: str, work: Path, seed: int) -> Made:
    return run_stages(
        stages, model=model, work=work, overrides=[f"seed={seed}"], progress=SilentProgress()
    )


def averaged(runs: Sequence[DocumentLosses]) -> DocumentLosses:
    """Each document's mean loss over the seeds."""
    return DocumentLosses(np.mean([run.nats for run in runs], axis=0), runs[0].tokens)


def shown(figure: Figure, digits: int = 2) -> str:
    """A figure with its interval."""
    return f"{figure.value:.{digits}f} [{figure.low:.{digits}f}, {figure.high:.{digits}f}]"


def fitted(data: Sequence[str], settings: Mapping[str, Any] = TRAIN) -> dict[str, Any]:
    return {"run": "fit.sft", "model": "@base", "data": list(data), "heldout": 0,
            "train": dict(settings)}  # fmt: skip


def run_seed(base: Path, work: Path, seed: int, part: str) -> tuple[Made, Pool, list[float]]:
    """Pool, scores, and every arm chosen, trained and measured."""
    pool = make_pool(seed)
    files = {"trusted": pool.trusted, "fit": pool.trusted[:-CALIBRATION]}
    draw = random.Random(f"arms {seed}")
    count = round(SHARE * len(pool.records))
    files["random"] = draw.sample(pool.records, count)
    clean = [one for one in pool.records if pool.kind[one.id] == "clean"]
    files["undamaged"] = draw.sample(clean, count)
    paths = {name: work.resolve() / f"{name}.jsonl" for name in [*files, "pool"]}
    for name, records in files.items():
        tables.write(paths[name], records)
    model = made({"scorer": fitted([str(paths["fit"])])}, str(base), work / "scorer", seed)
    found = scores(model.folders["scorer"], pool)
    rows = [{**asdict(one), "score": s} for one, s in zip(pool.records, found, strict=True)]
    atomic.write_text(paths["pool"], "".join(json.dumps(row) + "\n" for row in rows))
    listed = [
        {"name": name, "data": str(SHIPPED / part / f"{name}.jsonl.gz"), "metric": "right"}
        for name in TASKS
    ]
    stages: dict[str, Any] = {}
    for arm, (_, chosen) in ARMS.items():
        data = str(paths.get(arm, ""))
        if chosen is not None:
            data = f"@choose_{arm}/selected.jsonl"
            stages[f"choose_{arm}"] = {
                "run": "curate.select", "data": [str(paths["pool"])], "select": chosen,
                "score": None if arm == "spread" else "score",
            }  # fmt: skip
        stages[f"fit_{arm}"] = fitted([str(paths["trusted"]), data])
        stages[arm] = {"run": "measure.evaluate", "model": f"@fit_{arm}", "tasks": listed}
    return made(stages, str(base), work / "arms", seed), pool, found


Right = dict[str, dict[str, float]]
"""By task, 1 or 0 for each item."""


def right(folder: Path) -> tuple[Right, dict[str, str]]:
    values, groups = item_values(folder)
    return values, {item: group for task in groups.values() for item, group in task.items()}


def difference(
    one: Sequence[Right],
    other: Sequence[Right],
    groups: Mapping[str, str],
    tasks: Sequence[str] = TASKS,
) -> str:
    """``other`` − ``one`` in points over all items, averaged over the seeds, with its interval."""
    items = [(task, item) for task in tasks for item in sorted(one[0][task])]
    means = [
        [float(np.mean([run[t][i] for run in side])) for t, i in items] for side in (one, other)
    ]
    clusters = [groups.get(item) or item for _, item in items]
    found = paired_comparison(means[0], means[1], clusters, binary=False)
    low, high, value = (100 * x for x in (found.low, found.high, found.difference))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def overall(run: Right) -> float:
    return float(np.mean([value for task in TASKS for value in run[task].values()]))


def auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """How often a good record scores higher than a bad one, ties counted as half."""
    wins = sum(float(x > y) + 0.5 * (x == y) for x in good for y in bad)
    return wins / (len(good) * len(bad)) if good and bad else math.nan


def page(seeds: Sequence[int], runs: Sequence[tuple[Made, Pool, list[float]]], part: str) -> str:
    results = {arm: [right(made.folders[arm]) for made, _, _ in runs] for arm in ARMS}
    groups = results["random"][0][1]
    values = {arm: [one for one, _ in found] for arm, found in results.items()}
    items = sum(len(found) for found in values["random"][0].values())
    named = ", ".join(map(str, seeds))
    lines = [INTRODUCTION.format(part=part, seeds=named, items=items)]
    head = " | ".join(f"seed {seed}" for seed in seeds)
    lines += [f"| trained on | {head} | mean | against random |",
              "| --- |" + " ---: |" * (len(seeds) + 2)]  # fmt: skip
    for arm, (about, _) in ARMS.items():
        shares = [overall(one) for one in values[arm]]
        shown = " | ".join(f"{100 * share:.1f}" for share in shares)
        gain = "" if arm == "random" else difference(values["random"], values[arm], groups)
        lines.append(f"| **{arm}**: {about} | {shown} | {100 * np.mean(shares):.1f} | {gain} |")
    lines += ["", "By task, mean of the seeds:", "", "| | " + " | ".join(TASKS) + " |",
              "| --- |" + " ---: |" * len(TASKS)]  # fmt: skip
    for arm in ARMS:
        by_task = [np.mean([list(one[task].values()) for one in values[arm]]) for task in TASKS]
        lines.append(f"| {arm} | " + " | ".join(f"{100 * x:.1f}" for x in by_task) + " |")
    return "\n".join([*lines, *composition(seeds, runs)]) + "\n"


def composition(seeds: Sequence[int], runs: Sequence[tuple[Made, Pool, list[float]]]) -> list[str]:
    """What each choice holds, and how well the scores tell damage."""
    kinds = ["clean", *DAMAGED, "copy"]
    lines = ["", "What the choices hold, in records, summed over the seeds:", "",
             "| | " + " | ".join(kinds) + " |", "| --- |" + " ---: |" * len(kinds)]  # fmt: skip
    for arm in ("pool", "random", "top", "spread", "selected"):
        held: Counter[str] = Counter()
        for seed_made, pool, _ in runs:
            made_here = seed_made.folders.get(f"choose_{arm}")
            # The folder of an artifact is WORK/arms/work/artifacts/NAME.
            work = seed_made.folders["random"].parents[3]
            file = made_here / "selected.jsonl" if made_here else work / f"{arm}.jsonl"
            held.update(pool.kind[one.id] for one in tables.read(file, Example))
        lines.append(f"| {arm} | " + " | ".join(str(held[kind]) for kind in kinds) + " |")
    lines += ["", "How often an undamaged record scores higher than a damaged one (AUC):", ""]
    for kind in DAMAGED:
        found = []
        for _, pool, given in runs:
            by = {name: [s for one, s in zip(pool.records, given, strict=True)
                         if pool.kind[one.id] == name] for name in ("clean", kind)}  # fmt: skip
            found.append(f"{auc(by['clean'], by[kind]):.2f}")
        lines.append(f"- {kind}: {', '.join(found)}")
    return lines


INTRODUCTION = """# Selection against a random choice

Made by `python -m benchmarks.selection`. The quickstart's instructions, less 300 that are trusted,
make a pool: 15 % of them get the reply of another prompt of their task (wrong), 10 % lose half of
their reply (cut), 10 % get a reply of another task (off topic), and 100 clean ones come five times
more with another opening (copies). A model, the quickstart's after post-pretraining, is fitted to
200 trusted examples and scores the pool (`relevance`, `completeness`, `fluency` at their default
weights, calibrated on the other 100). From the same post-pretrained model each line below is then
trained on the 300 trusted examples and a fifth of the pool, with equal settings (3 epochs).
Selection has its default settings; none was chosen by these questions.

The table says how many of {items} held-out questions were answered right, in per cent
(`assets/quickstart/{part}`; greedy; seeds {seeds}, of pool, choice and training alike). The last
column is the difference to `random` in points; its interval (95 %, over questions, clustered by
entity) is that of the mean over these seeds, and does not hold what other seeds would add.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True, help="kept, so that it can continue")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--part", choices=("dev", "eval"), default="eval")
    given = parser.parse_args()
    base = pretrained(given.work)
    runs = []
    for seed in given.seeds:
        begun = time.monotonic()
        runs.append(run_seed(base.resolve(), given.work / f"seed{seed}", seed, given.part))
        print(f"seed {seed}: {time.monotonic() - begun:.0f} s", flush=True)
    text = page(given.seeds, runs, given.part)
    print(text)
    if given.part == "eval":
        atomic.write_text(PAGE, text)


if __name__ == "__main__":
    main()
