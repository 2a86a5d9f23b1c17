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
from burnish.loop.check import check
from burnish.loop.execute import Options, Step, Workshop
from burnish.loop.recipe import Recipe
from burnish.loop.references import split
from burnish.records import Language
from burnish.reporting.html import render
from burnish.sampling import EndpointError
from burnish.store import atomic, lock
from burnish.store.artifacts import Artifact, ArtifactStore
from burnish.store.errors import StorageError

FAILURES_IN_A_ROW = 2
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
    """Where the loop stands: the champion's folder and what each round came to."""

    champion: Path | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)
    champions: list[Path] = field(default_factory=list)


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
    with lock.held(folder / ".lock"):
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
    began = time.monotonic()
    stood = Progressed()
    status = "failed"
    try:
        for call in workshop.recipe.prepare:
            workshop.execute(call, 0)
            _write(workshop, stood, "running", began)
        if workshop.recipe.round:
            _rounds(workshop, stood, began)
        status = "done"
    except (Interrupted, KeyboardInterrupt):
        status = "interrupted"
        raise
    finally:
        _write(workshop, stood, status, began)
    for lang, name in REPORTS:
        atomic.write_text(workshop.folder / name, render(workshop.folder, lang))
    found: dict[str, Any] = json.loads((workshop.folder / "summary.json").read_text())
    return RunResult(workshop.folder, found)


def _write(workshop: Workshop, stood: Progressed, status: str, began: float) -> None:
    seconds = time.monotonic() - began
    content = summary.build(workshop, stood.champions, stood.rounds, status, seconds)
    atomic.write_json(workshop.folder / "summary.json", content)


def _rounds(workshop: Workshop, stood: Progressed, began: float) -> None:
    rounds = workshop.recipe.header.rounds
    first = split(rounds.champion)[0]
    stood.champion = Path(workshop.recipe.header.model) if first == "base" else workshop.made[first]
    stood.champions = [stood.champion]
    weak = failed = 0
    for number in range(1, rounds.count + 1):
        workshop.made["champion"] = stood.champion
        result = _round(workshop, stood, number, began)
        stood.rounds.append(result)
        stood.champions.append(stood.champion)
        _write(workshop, stood, "running", began)
        failed = failed + 1 if result["decision"] == "failed" else 0
        weak = weak + 1 if result.get("gain", 0.0) < rounds.min_gain else 0
        if failed >= FAILURES_IN_A_ROW:
            result["stopped"] = f"{failed} failed rounds in a row"
            break
        if weak >= rounds.patience:
            result["stopped"] = f"{weak} rounds in a row gained less than {rounds.min_gain}"
            break


def _round(workshop: Workshop, stood: Progressed, number: int, began: float) -> dict[str, Any]:
    """One trip round. A failure is recorded with its cause and the champion stays."""
    result: dict[str, Any] = {"round": number, "decision": "undecided", "reason": "no gate"}
    for call in workshop.recipe.round:
        try:
            artifact, resolved = workshop.execute(call, number)
        except (InputError, Interrupted, StorageError, EndpointError):
            raise
        except Exception as error:  # noqa: BLE001 - any failure of a round ends only that round
            cause = f"{type(error).__name__}: {error}"
            workshop.steps.append(Step(call.name, call.run, number, "failed", None, cause))
            _keep_trace(workshop.folder, call.name, number)
            return {"round": number, "decision": "failed", "reason": f"{call.name}: {cause}"}
        if call.run == "measure.gate":
            result = {"round": number, **artifact.details}
        if call.run == "release.promote" and artifact.details["promoted"]:
            stood.champion = Path(resolved.inputs.model("model"))
        _write(workshop, stood, "running", began)
    return result


def _keep_trace(folder: Path, stage: str, number: int) -> None:
    atomic.write_text(folder / f"failure-{stage}-{number}.txt", traceback.format_exc())
