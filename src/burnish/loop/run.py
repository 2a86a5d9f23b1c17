"""Run a recipe: prepare, then round after round, each from the champion of the one before."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import InputError, Interrupted
from burnish.engine import Progress, SilentProgress
from burnish.loop import summary
from burnish.loop.budget import BudgetSpent
from burnish.loop.check import check
from burnish.loop.control import LOCK
from burnish.loop.execute import Options, Step, Workshop
from burnish.loop.recipe import Recipe, StageCall
from burnish.loop.references import locate, split
from burnish.records import Language
from burnish.reporting.html import render
from burnish.sampling import EndpointError
from burnish.store import atomic, lock
from burnish.store.artifacts import Artifact, ArtifactStore
from burnish.store.errors import StorageError

FAILURES_IN_A_ROW = 2
TOLD = ("decision", "reason", "gain", "p_values", "failed", "cause", "stopped")
"""What an event tells of a round's result."""
REPORTS: tuple[tuple[Language, str], ...] = (("en", "report.html"), ("zh", "report.zh.html"))


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder and what ``summary.json`` says."""

    folder: Path
    summary: dict[str, Any]

    @property
    def promoted(self) -> bool:
        """Whether any round's candidate became champion (true where there are no rounds)."""
        verdicts = self.summary["verdicts"]
        return not verdicts or any(v["decision"] == "promoted" for v in verdicts)

    def artifact(self, name: str) -> Artifact:
        """The latest artifact of a stage."""
        return ArtifactStore(self.folder).get(name)


@dataclass
class Progressed:
    """Where the loop stands: the champion's folder, what each round came to, and why the loop
    ended before its last round."""

    began: float
    champion: Path | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    champions: list[Path] = field(default_factory=list)
    stopped: str = ""


def run(
    recipe: Recipe,
    runs: Path,
    *,
    rerun: Collection[str] = (),
    keep: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Run ``recipe`` in ``runs/<name>``; what is already there and still valid is taken.

    Raises:
        InputError: anything ``check`` finds, or something made earlier no longer matches.
        Interrupted: a signal came; the same call continues.
    """
    problems = check(recipe, runs)
    unknown = set(rerun) - {call.name for call in recipe.stages()}
    problems += [recipe.problem((), f"--rerun {name}: no such stage") for name in sorted(unknown)]
    if problems:
        raise InputError(problems)
    folder = (runs / recipe.name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with lock.held(folder / LOCK):
        atomic.write_text(folder / "recipe.yaml", recipe.to_yaml())
        workshop = Workshop(
            recipe,
            folder,
            runs.absolute() / "registry.sqlite",
            progress or SilentProgress(),
            Options(frozenset(rerun), keep),
        )
        return _go(workshop)


def _go(workshop: Workshop) -> RunResult:
    stood = Progressed(time.monotonic())
    status = "failed"
    names = [call.name for call in workshop.recipe.stages()]
    workshop.events.add("run_started", run=workshop.folder.name, stages=names)
    try:
        for call in workshop.recipe.prepare:
            workshop.execute(call, 0)
            _write(workshop, stood, "running")
        if workshop.recipe.round:
            _rounds(workshop, stood)
        status = "done"
    except BudgetSpent as reached:
        status, stood.stopped = "stopped", str(reached)
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        workshop.events.add("run_ended", status=status, stopped=stood.stopped)
        _write(workshop, stood, status)
    for lang, name in REPORTS:
        atomic.write_text(workshop.folder / name, render(workshop.folder, lang))
    found: dict[str, Any] = json.loads((workshop.folder / "summary.json").read_text())
    return RunResult(workshop.folder, found)


def _write(workshop: Workshop, stood: Progressed, status: str) -> None:
    seconds = time.monotonic() - stood.began
    content = summary.build(workshop, stood.champions, stood.rounds, status, seconds, stood.stopped)
    atomic.write_json(workshop.folder / "summary.json", content)


def _rounds(workshop: Workshop, stood: Progressed) -> None:
    rounds = workshop.recipe.header.rounds
    first = split(rounds.champion)[0]
    if first == "base":
        stood.champion = Path(locate(workshop.recipe.header.model, workshop.recipe.file.parent))
    else:
        stood.champion = workshop.made[first]
    stood.champions = [stood.champion]
    weak = failed = 0
    for number in range(1, rounds.count + 1):
        workshop.made["champion"] = stood.champion
        workshop.events.add("round_started", round=number, champion=stood.champion.name)
        result = _round(workshop, stood, number)
        stood.rounds.append(result)
        stood.champions.append(stood.champion)
        failed = failed + 1 if result["decision"] == "failed" else 0
        # A gain that could not be measured (NaN) is none.
        weak = 0 if result.get("gain", 0.0) >= rounds.min_gain else weak + 1
        if failed >= FAILURES_IN_A_ROW:
            stood.stopped = f"{failed} failed rounds in a row"
        elif weak >= rounds.patience and number < rounds.count:
            stood.stopped = f"{weak} rounds in a row gained less than {rounds.min_gain}"
        if stood.stopped:
            result["stopped"] = stood.stopped
        told = {name: result.get(name) for name in TOLD}
        workshop.events.add("round_ended", round=number, champion=stood.champion.name, **told)
        _write(workshop, stood, "running")
        if stood.stopped:
            return


def _round(workshop: Workshop, stood: Progressed, number: int) -> dict[str, Any]:
    """One trip round. A failure is recorded with its cause and the champion stays.

    A round that failed before is tried again, unless a later one has gone on from it.
    """
    result: dict[str, Any] = {"round": number, "decision": "undecided", "reason": "no gate"}
    failed = workshop.events.failure(number)
    if failed and (workshop.options.rerun or not workshop.has_round_after(number)):
        failed = None
    for call in workshop.recipe.round:
        if failed and failed[0] == call.name:
            return _failed(workshop, call, number, failed[1])
        try:
            artifact, resolved = workshop.execute(call, number)
        except (InputError, Interrupted, StorageError, EndpointError, BudgetSpent):
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a round ends only that round
            _keep_trace(workshop.folder, call.name, number)
            return _failed(workshop, call, number, f"{type(error).__name__}: {error}")
        if call.run == "measure.gate":
            result = {"round": number, **artifact.details}
        if call.run == "release.promote" and artifact.details["promoted"]:
            stood.champion = Path(resolved.inputs.model("model"))
        _write(workshop, stood, "running")
    return result


def _failed(workshop: Workshop, call: StageCall, number: int, cause: str) -> dict[str, Any]:
    workshop.steps.append(Step(call.name, call.run, number, "failed", None, cause))
    reason = f"{call.name}: {cause}"
    return {"round": number, "decision": "failed", "failed": call.name, "cause": cause,
            "reason": reason}  # fmt: skip


def _keep_trace(folder: Path, stage: str, number: int) -> None:
    atomic.write_text(folder / f"failure-{stage}-{number}.txt", traceback.format_exc())
