"""What replay is worth in post-pretraining: domain gain against general loss, guard off and on.

    python -m benchmarks.replay --work runs/replay                  burnish-tiny on Atlas
    python -m benchmarks.replay --work runs/replay-smollm2 --model smollm2

The page benchmarks/RESULTS-replay.md says what is done; it is written by this program, a section
for each model that was run.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import pkgutil
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.sections import put
from burnish.cli.one_stage import Made, run_stages
from burnish.engine import SilentProgress
from burnish.records import Document, Message, Prompt
from burnish.reporting.charts import Line, line_chart
from burnish.store import atomic, tables

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src/burnish/assets/quickstart"
PAGE = Path(__file__).with_name("RESULTS-replay.md")
IMAGES = ROOT / "docs/images"
RATIOS = {"none": 0.0, "5 %": 1 / 19, "25 %": 1 / 3, "1 : 1": 1.0, "1 : 5": 5.0}
"""General tokens for each domain token, by what the share is called."""
OPTIONS, ITEMS, LONGEST = 4, 240, 160
PARTS = ("guard", "final")
STYLE = (
    "text{font:10px sans-serif;fill:#555}.curve{fill:none;stroke-width:1.5}"
    ".c1 .curve{stroke:#2f6fb0}.c1 .dot{fill:#2f6fb0}.c2 .curve{stroke:#c2571a}"
    ".c2 .dot{fill:#c2571a}.grid-line{stroke:#ddd}.axis{stroke:#888}"
    ".bound{stroke:#a33;stroke-dasharray:4 3}"
)


@dataclass(frozen=True)
class Plan:
    """What is run on one model: settings of the fit, and of held-out general documents the first
    ``heldout``."""

    about: str
    settings: Mapping[str, Any]
    guard: Mapping[str, Any]
    heldout: int | None = None


PLANS = {
    "burnish-tiny": Plan(
        "the quickstart's Atlas (countries, elements, poems and idioms in many sentence forms)",
        {"sequence_length": 128, "domain_heldout": 0.1,
         "train": {"learning_rate": 2.5e-3, "tokens_per_step": 1024, "warmup": 0.01}},
        {"bound": 2.0, "checks": 6, "grace": 0.0},
    ),
    "smollm2": Plan(
        "technical documentation: descriptions of functions and classes in SciPy",
        {"limit": 24, "sequence_length": 256, "domain_heldout": 0.2, "lora": {"r": 16, "alpha": 32},
         "train": {"learning_rate": 1.0e-3, "tokens_per_step": 1024, "tokens_per_batch": 1024,
                   "warmup": 0.01}},
        {"bound": 1.05, "checks": 3, "grace": 0.0},
        heldout=24,
    ),
}  # fmt: skip


def documentation() -> Iterator[Document]:
    """The docstrings of SciPy's public functions and classes, each once."""
    import scipy

    seen = set()
    for module in sorted(m.name for m in pkgutil.iter_modules(scipy.__path__)):
        if module.startswith("_") or module == "conftest":
            continue
        there = importlib.import_module(f"scipy.{module}")
        for name in sorted(getattr(there, "__all__", ())):
            text = inspect.getdoc(getattr(there, name, None)) or ""
            if len(text) > 600 and text not in seen:
                seen.add(text)
                yield Document(id=f"scipy.{module}.{name}", text=text[:4000])


def continuations(documents: Sequence[Document], seed: int = 0) -> list[Prompt]:
    """Which of four second halves goes with the first half of a line? Three are of other lines."""
    draw = random.Random(seed)
    lines = sorted({line.strip()[:LONGEST] for one in documents for line in one.text.splitlines()})
    halves: dict[str, list[tuple[str, str]]] = {"en": [], "zh": []}
    for line in lines:
        words = line.split(" ")
        if re.search(r"[\u4e00-\u9fff]", line):
            if len(line) >= 16:
                halves["zh"].append((line[: len(line) // 2], line[len(line) // 2 :]))
        elif len(words) >= 8:
            middle = len(words) // 2
            halves["en"].append((" ".join(words[:middle]), " ".join(words[middle:])))
    items = []
    for lang, pairs in halves.items():
        for place, (first, second) in enumerate(pairs):
            others = sorted({end for _, end in pairs} - {second})
            if len(others) < OPTIONS:
                continue
            shown = [second, *draw.sample(others, OPTIONS - 1)]
            draw.shuffle(shown)
            verify = {"kind": "choice", "choices": shown, "gold": shown.index(second)}
            turn = Message(role="user", content=first)
            items.append(Prompt(id=f"{lang}{place}", messages=[turn], lang=lang, verify=verify))
    draw.shuffle(items)
    return items[:ITEMS]


def write(work: Path, model: str) -> None:
    """The domain and general files. Held-out general documents are dealt out to the guard and to
    the final figures, so that what the guard looked at is not what it is judged by."""
    if model == "burnish-tiny":
        domain = tables.read(SHIPPED / "atlas_docs.jsonl.gz", Document)
    else:
        domain = list(documentation())
    tables.write(work / "domain.jsonl", domain)
    heldout = tables.read(SHIPPED / "general_heldout.jsonl.gz", Document)
    general = tables.read(SHIPPED / "general.jsonl.gz", Document)
    if model == "smollm2":  # which knows no Chinese
        general = [one for one in general if one.lang == "en"]
        heldout = [one for one in heldout if one.lang == "en"]
    random.Random(0).shuffle(heldout)
    heldout = heldout[: PLANS[model].heldout]
    tables.write(work / "general.jsonl", general)
    for place, part in enumerate(PARTS):
        tables.write(work / f"{part}.jsonl", heldout[place :: len(PARTS)])
    tables.write(work / "task.jsonl", continuations(heldout[1 :: len(PARTS)]))


def stages(work: Path, plan: Plan, arm: str, action: str) -> dict[str, Any]:
    """A fit and its measurement."""
    name = f"{arm.replace(' ', '').replace('%', 'percent').replace(':', 'to')}_{action}"
    fit = {
        "run": "fit.pretrain", "model": "@base", "domain": [str(work / "domain.jsonl")],
        "general": [str(work / "general.jsonl")], "heldout": str(work / "guard.jsonl"),
        "ratio": RATIOS[arm], "guard": {**plan.guard, "action": action}, **plan.settings,
    }  # fmt: skip
    return {f"fit_{name}": fit, f"measure_{name}": measurement(work, f"@fit_{name}")}


def measurement(work: Path, model: str) -> dict[str, Any]:
    """The general figures of a model, on documents that no guard looked at."""
    return {"run": "measure.evaluate", "model": model, "base": "@base",
            "heldout": str(work / "final.jsonl"),
            "tasks": [{"name": "continuation", "data": str(work / "task.jsonl")}]}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one fit gave: perplexities after it divided by those before, and the task's share."""

    arm: str
    guarded: bool
    domain: float
    general: float
    worst: float
    task: str
    acted: str


def row(made: Made, work: Path, plan: Plan, arm: str, action: str) -> Row:
    """The figures of an arm."""
    fit, measure = (made.folders[name] for name in stages(work, plan, arm, action))
    record = json.loads((fit / "artifact.json").read_text(encoding="utf-8"))
    found = json.loads((measure / "artifact.json").read_text(encoding="utf-8"))["figures"]
    figures, readings = record["figures"], record["details"]["guard"]["readings"]
    acted = [f"{one['action'].replace('_', ' ')} at step {one['step']}"
             for one in readings if one["action"] not in (None, "mark")]  # fmt: skip
    return Row(
        arm, action != "watch",
        figures["domain_ppl_after"]["value"] / figures["domain_ppl_before"]["value"],
        found["general_ppl_ratio"]["value"], max(one["ratio"] for one in readings),
        percent(found["continuation"]), "; ".join(acted),
    )  # fmt: skip


def percent(figure: Mapping[str, float]) -> str:
    value, low, high = (100 * figure[name] for name in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def sweep(model: str, work: Path, seed: int) -> tuple[list[Row], str]:
    """Every arm without the guard; with it those in which a reading passed its bound, since in the
    others it would have done nothing. Also the task's share before any fit."""
    work = work.resolve()
    plan = PLANS[model]
    write(work, model)

    def run(wanted: Mapping[str, Any]) -> Made:
        return run_stages(wanted, model=model, work=work, overrides=[f"seed={seed}"],
                          progress=SilentProgress())  # fmt: skip

    wanted: dict[str, Any] = {"measure_base": measurement(work, "@base")}
    rows: list[Row] = []
    for guarded in (False, True):
        passed = {one.arm for one in rows if one.worst > plan.guard["bound"]}
        for arm in RATIOS if not guarded else [arm for arm in RATIOS if arm in passed]:
            # Without general text in the mix there is nothing to raise.
            on = "raise_replay" if RATIOS[arm] else "rollback"
            action = on if guarded else "watch"
            wanted |= stages(work, plan, arm, action)
            made = run(wanted)
            rows.append(row(made, work, plan, arm, action))
            print(rows[-1], flush=True)
    base = json.loads((made.folders["measure_base"] / "artifact.json").read_text(encoding="utf-8"))
    return rows, percent(base["figures"]["continuation"])


def chart(rows: Sequence[Row], bound: float, path: Path) -> None:
    """General against domain perplexity, a point for each fit, as an image of its own. Fits that
    went all the way back are not drawn: they are where all began, far to the right."""
    lines = []
    for guarded, css in ((False, "c1"), (True, "c2")):
        moved = (one for one in rows if one.guarded == guarded and one.domain != 1)
        mine = sorted(moved, key=lambda one: one.domain)
        points = [(one.domain, one.general) for one in mine]
        names = [one.arm + (" guarded" if guarded else "") for one in mine]
        lines.append(Line("guard on" if guarded else "guard off", points, css, labels=names))
    label = "general perplexity after/before (up) against domain perplexity after/before (across)"
    found = re.match(
        r"<svg.*?</svg>", line_chart(lines, label=label, bound=(bound, "bound"), log=True), re.S
    )
    assert found is not None
    text = (
        found[0]
        .replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg" width="720"', 1)
        .replace(">", f"><style>{STYLE}</style><rect width='100%' height='100%' fill='white'/>", 1)
    )
    atomic.write_text(path, text + "\n")


def section(model: str, rows: Sequence[Row], before: str, seed: int) -> str:
    """A model's part of the page."""
    plan = PLANS[model]
    lines = [
        f"Domain: {plan.about}. Seed {seed}.", "",
        f"![general against domain perplexity](../docs/images/replay-{model}.svg)", "",
        "| replay | guard | domain perplexity, after / before | general perplexity, after / before "
        "| continuation, % | the guard did |",
        "| --- | --- | ---: | ---: | ---: | --- |",
        f"| before | | 1 | 1 | {before} | |",
    ]  # fmt: skip
    for one in rows:
        state = "on" if one.guarded else "off"
        lines.append(f"| {one.arm} | {state} | {one.domain:.3f} | {one.general:.3f} | {one.task} "
                     f"| {one.acted} |")  # fmt: skip
    settings = json.dumps({**plan.settings, "guard": plan.guard})
    lines += ["", f"Settings: `{settings}`. Arms that are not listed with the guard on never "
              "passed its bound, so that it did nothing."]  # fmt: skip
    return "\n".join(lines) + "\n"


INTRODUCTION = """# Replay against forgetting

Made by `python -m benchmarks.replay --work FOLDER [--model smollm2]`. Continued pre-training on a
domain with more or less general text among it ("5 %" and "25 %" are shares of all tokens, "1 : 5"
is one domain token to five general ones). Without the guard every arm sees the same domain text
equally often, so that more replay is also more computation. Domain perplexity is of documents kept
out of the fit. General text is the quickstart's; half of its held-out documents are the guard's,
the figures are of the other half. *Continuation* asks which of four second halves belongs to the
first half of a held-out general line (chance 25 %), with a 95 % interval over the items. The guard
raises the replay of what is still to come, and where there is none, rolls back. In the charts left
is better learnt, low is better kept; blue is without the guard, brown with it, the dashed line its
bound; fits that the guard took back to the start (1, 1) are not drawn.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True, help="kept, so that it can continue")
    parser.add_argument("--model", choices=tuple(PLANS), default="burnish-tiny")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rows, before = sweep(given.model, given.work, given.seed)
    chart(rows, PLANS[given.model].guard["bound"], IMAGES / f"replay-{given.model}.svg")
    print(put(PAGE, INTRODUCTION, given.model, section(given.model, rows, before, given.seed)))


if __name__ == "__main__":
    main()
