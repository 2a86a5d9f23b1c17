"""Runs and models as burnish leaves them, with any text put wherever text can come from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests import tiny

from burnish.evals import experiments
from burnish.evals.sequential import StopRule
from burnish.models.save import save_model
from burnish.records import Figure, Preference, Rollout
from burnish.stages.release.promote import register
from burnish.store import tables
from burnish.store.artifacts import ArtifactStore, Origin
from burnish.store.registry import Registry

RECIPE = """\
name: demo
model: burnish-tiny
prepare:
  first: {run: fit.sft, model: "@base", data: [a.jsonl]}
round:
  second: {run: fit.dpo, model: "@champion", data: [b.jsonl]}
  third: {run: measure.evaluate, model: "@second", tasks: []}
rounds: {count: 2, champion: "@first"}
"""
ATTACKS = (
    "<script>window.__xss=1</script>",
    "<img src=x onerror=window.__xss=1>",
    "<svg onload=window.__xss=1>",
    "\"><iframe srcdoc='<script>parent.__xss=1</script>'>",
    "' onmouseover='window.__xss=1' autofocus onfocus='window.__xss=1' x='",
    "[a](javascript:window.__xss=1) ![b](http://evil.test/x.png)",
    "<a href=javascript:window.__xss=1>a</a><style>@import 'http://evil.test/x.css'</style>",
    "</textarea></template></title><script>window.__xss=1</script>{{ 7*7 }}",
)


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def event(number: int, name: str, **fields: Any) -> dict[str, Any]:
    time = f"2026-01-01T00:00:{number:02d}.000+00:00"
    return {"sequence": number, "time": time, "event": name, **fields}


def make_run(runs: Path, name: str, said: str = "Hello", cause: str = "") -> Path:
    """A run that was interrupted in its second round, with curves, samples and a log."""
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "run.log").write_text(f"printed {said}\n")
    first = {"round": 0, "stage": "first", "run": "fit.sft"}
    second = {"round": 1, "stage": "second", "run": "fit.dpo"}
    other = {"round": 1, "stage": cause or "other", "run": cause or "fit.sft"}
    lines(
        folder / "events.jsonl",
        [
            event(1, "run_started", run=name, stages=["first", "second", "third"]),
            event(2, "stage_started", **first),
            event(3, "stage_ended", **first, state="done", artifact="first@1", seconds=65),
            event(4, "round_started", round=1, champion="first@1"),
            event(5, "stage_started", **second),
            event(6, "stage_ended", **second, state="done", artifact="second@1", seconds=2),
            event(7, "stage_started", **other),
            event(8, "stage_ended", **other, state="failed", cause=cause or "boom"),
            event(9, "round_ended", round=1, champion="first@1", decision=cause or "failed",
                  reason=f"it said {said}", gain=0.25, stopped=cause),
            event(10, "run_ended", status="interrupted", stopped=""),
        ],
    )  # fmt: skip
    lines(
        folder / "metrics.jsonl",
        [
            {"stage": stage, "round": round, "step": step, "loss": 3.0 / step, "kl": step / 9}
            for stage, round in (("first", 0), ("second", 1), (cause or "other", 1))
            for step in range(1, 30)
        ],
    )
    prompt = [{"role": "user", "content": said}]
    sample = {"stage": "second", "round": 1, "prompt": prompt, "reply": said, "reward": 0.5}
    lines(folder / "samples.jsonl", [sample])
    return folder


def make_models(runs: Path, said: str = "better", count: int = 2, real: bool = False) -> list[str]:
    """Registered models ``tuned@1`` ...; the first is the champion, the last was judged."""
    store = ArtifactStore(runs / "demo")
    refs = []
    with Registry(runs / "registry.sqlite") as registry:
        for number in range(1, count + 1):
            origin = Origin(stage="fit.sft", config={"note": f"{said} {number}"})
            with store.create("tuned", origin) as draft:
                draft.kind = "model"
                draft.figures = {"loss": Figure(1.0 / number, 0.1, 1.2, 10)}
                if real:
                    save_model(tiny.model(number), tiny.tokenizer(), draft.path)
                else:
                    (draft.path / "config.json").write_text(f"{number}")
            details = {"model": f"tuned@{number}", "dimensions": {said: said}}
            with store.create("measured", Origin(stage="measure.evaluate", config={})) as draft:
                draft.kind = "report"
                draft.figures = {said: Figure(0.5, 0.4, 0.6, 20)}
                draft.details = details
            refs.append(register(registry, store, f"tuned@{number}"))
        comparison = {"difference": 0.1, "low": 0.05, "high": 0.15}
        row = {"metric": said, "role": said, "state": said, "comparison": comparison}
        registry.set_alias("champion", refs[0], "", f"because {said}")
        registry.add_verdict(
            1, refs[-1], refs[0], "kept", f"since {said}",
            {"comparisons": [row], "reason_zh": f"因为 {said}"},
        )  # fmt: skip
    return refs


def make_data(runs: Path, run: str = "demo", said: str = "Hello", count: int = 6) -> Path:
    """Data of a run: rollouts as Parquet, preferences made from them, and their funnel.

    Every text, source and topic holds ``said``; rollout N is ``rN``, preference N ``pN``. The first
    two rollouts say nearly the same.
    """
    prompt = [{"role": "user", "content": f"Say {said}"}]
    long = "the quick brown fox jumps over the lazy dog near the river bank today"
    rollouts = [
        Rollout(
            id=f"r{number}", source=f"web {said}" if number % 2 else "book", topic=f"topic {said}",
            tier="selected" if number % 2 else "bulk", lang="en", synthetic=True,
            parents=(f"page {said}:{number}",), prompt_id="q1", prompt=prompt,
            completion=f"{long} {said}" if number < 2 else f"reply {number} of {said}",
            tokens=[1], logprobs=[-0.5], finish="stop", temperature=1.0, top_p=1.0, seed=number,
            scores={"fluency": number / 10}, reward=number / count,
        )
        for number in range(count)
    ]  # fmt: skip
    preferences = [
        Preference(
            id=f"p{number}", source="pairs", tier="expert", prompt=prompt, topic="food",
            parents=(f"r{number}", f"r{number + 1}"), margin=0.5,
            chosen=[{"role": "assistant", "content": f"good {said}"}],
            rejected=[{"role": "assistant", "content": f"=bad {said}"}],
        )
        for number in range(count - 1)
    ]  # fmt: skip
    gone = {"reason": said, "prompt": said, "reply": said}
    step = {"name": said, "entered": 9, "left": count, "examples": [gone]}
    store = ArtifactStore(runs / run)
    with store.create("generate", Origin(stage="curate.generate", config={"note": said})) as draft:
        draft.kind = "data"
        draft.details = {"funnel": [step]}
        tables.write(draft.path / "preferences.jsonl", preferences)
        tables.write(draft.path / "rollouts.parquet", rollouts)
    return runs / run


def make_experiment(runs: Path, name: str = "tone", gain: float = 1.0, users: int = 60) -> None:
    """An experiment between ``tuned@1`` and ``tuned@2`` with two outcomes of each user."""
    with Registry(runs / "registry.sqlite") as registry:
        rule = StopRule(least=10, tau=0.5)
        experiments.start(registry, name, "tuned@1", "tuned@2", 0.5, rule)
        for number in range(2 * users):
            arm = f"tuned@{1 + number % 2}"
            value = number % 3 / 2 + gain * (number % 2)
            row = {"arm": arm, "user": f"u{number % users}", "value": value}
            registry.add_feedback(f"{name}:{number}", arm, row)
