"""Run one stage, or take what an earlier run of the same stage made."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import InputError, Interrupted, Problem, references
from burnish.engine import Progress
from burnish.loop import crew
from burnish.loop.budget import BudgetSpent, Spent, spent
from burnish.loop.events import Events
from burnish.loop.recipe import Recipe, StageCall
from burnish.loop.references import Resolved, resolve
from burnish.sampling.usage import Usage, counted
from burnish.stages.base import Context, derived_seed
from burnish.store.artifacts import Artifact, ArtifactStore, Origin, difference, fingerprint

MOST_DEATHS = 3
"""After so many starts of a stage that the process did not survive, it is not started again."""


@dataclass(frozen=True)
class Options:
    """``rerun``: stages to make anew (and what no longer matches after them); ``keep``: take
    what is there although settings or inputs changed."""

    rerun: frozenset[str] = frozenset()
    keep: bool = False


@dataclass(frozen=True)
class Step:
    """One stage of one round as it went: ``state`` is done, reused or failed."""

    name: str
    stage: str
    round: int
    state: str
    artifact: Artifact | None = None
    cause: str = ""


@dataclass
class Workshop:
    """A run folder in use: its artifacts, and what this run has made or taken so far."""

    recipe: Recipe
    folder: Path
    registry: Path
    progress: Progress
    options: Options
    made: dict[str, Path] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = ArtifactStore(self.folder)
        self.events = Events(self.folder)

    def execute(self, call: StageCall, round: int) -> tuple[Artifact, Resolved]:
        """Make or take the artifact of one stage and remember it under the stage's name.

        Raises:
            InputError: it exists but was made from other settings or inputs, or the process died
                of it ``MOST_DEATHS`` times.
            BudgetSpent: it is still to be made, and the recipe's budget is spent.
        """
        resolved = resolve(call, self.recipe, self.made, self.store.folder)
        origin = self._origin(call, round, resolved)
        artifact = self._existing(call, round, origin)
        state = "done" if artifact is None else "reused"
        if artifact is None:
            artifact = self._watched(call, round, resolved, origin)
        else:
            self.events.add("stage_ended", **_of(call, round), state=state, artifact=artifact.ref)
        self.made[call.name] = artifact.path
        self.steps.append(Step(call.name, call.run, round, state, artifact))
        return artifact, resolved

    def spent(self) -> Spent:
        """What the run has cost so far, in all its invocations."""
        return spent(self.events.rows, self.recipe.header.budget.prices)

    def has_round_after(self, round: int) -> bool:
        """Whether something was made in a later round."""
        return any(artifact.round > round for artifact in self.store.list())

    def _watched(self, call: StageCall, round: int, resolved: Resolved, origin: Origin) -> Artifact:
        """Make the artifact, and tell of its beginning, its end and what it took."""
        if sentence := self.spent().limit(self.recipe.header.budget):
            raise BudgetSpent(f"{sentence}; next would be {call.name}")
        scratch = self.folder / "scratch" / f"{call.name}-{round}-{fingerprint(origin)[:12]}"
        if call.name in self.options.rerun:
            shutil.rmtree(scratch, ignore_errors=True)
        mark, place = _mark(scratch, self.folder / "cache"), _of(call, round)
        deaths = self.events.deaths(call.name, round, mark)
        if deaths >= MOST_DEATHS and call.name not in self.options.rerun:
            found = f"the process died of it {deaths} times at the same point (out of memory?)"
            raise InputError(
                self.recipe.problem(call.at, found, f"--rerun {call.name} tries once more")
            )
        self.events.add("stage_started", **place, mark=mark)
        began, state, cause = time.monotonic(), "failed", ""
        artifact = None
        with counted() as used:
            try:
                artifact = self._make(call, round, resolved, origin, scratch)
                state = "done"
            except BaseException as error:
                cause = f"{type(error).__name__}: {error}"
                if isinstance(error, Interrupted | KeyboardInterrupt):
                    state = "interrupted"
                raise
            finally:
                told = {"cause": cause} if artifact is None else _told(artifact)
                took = _took(time.monotonic() - began, used, artifact)
                self.events.add("stage_ended", **place, state=state, **told, **took)
        return artifact

    def _origin(self, call: StageCall, round: int, resolved: Resolved) -> Origin:
        config = call.config.model_dump(mode="json")
        # References count by their content, kept in ``inputs``, not by how they are written.
        for path, _, _ in references(call.config):
            _forget(config, path)
        config["seed"] = self._seed(call, round)
        return Origin(stage=call.run, config=config, inputs=resolved.recorded)

    def _seed(self, call: StageCall, round: int) -> int:
        # A measurement of the same model is the same whichever round asks for it.
        place = () if call.run.startswith("measure.") else (call.name, round)
        return derived_seed(self.recipe.header.seed, call.run, *place)

    def _existing(self, call: StageCall, round: int, origin: Origin) -> Artifact | None:
        artifacts = self.store.list()
        mine = [a for a in artifacts if (a.name, a.round) == (call.name, round)]
        mark = fingerprint(origin)
        if call.name in self.options.rerun:
            return None
        if mine and (mine[-1].fingerprint == mark or self.options.keep):
            return self.store.get(mine[-1].name, mine[-1].version)
        if mine and not self.options.rerun:
            raise InputError(self._changed(call, mine[-1], origin))
        if call.run.startswith("measure."):
            same = [a for a in artifacts if a.fingerprint == mark]
            return self.store.get(same[-1].name, same[-1].version) if same else None
        return None

    def _changed(self, call: StageCall, old: Artifact, origin: Origin) -> Problem:
        changes = "; ".join(difference(old, origin))
        found = f"{old.ref} was made from something else: {changes}"
        expected = f"--rerun {call.name} makes it and what follows anew, --keep uses it as it is"
        return self.recipe.problem(call.at, found, expected)

    def _make(
        self, call: StageCall, round: int, resolved: Resolved, origin: Origin, scratch: Path
    ) -> Artifact:
        with self.store.create(call.name, origin, resolved.parents, round) as draft:
            context = Context(
                name=call.name,
                round=round,
                seed=self._seed(call, round),
                output=draft.path,
                scratch=scratch,
                cache=self.folder / "cache",
                metrics=self.folder / "metrics.jsonl",
                registry=self.registry,
                progress=self.progress,
                device=self.recipe.header.device,
                endpoint=self.recipe.header.endpoint,
            )
            outcome = crew.run(call, resolved.inputs, context)
            draft.kind = outcome.kind
            draft.figures = dict(outcome.figures)
            draft.details = dict(outcome.details)
        shutil.rmtree(scratch, ignore_errors=True)
        assert draft.artifact is not None
        return draft.artifact


def _forget(config: Any, path: tuple[str | int, ...]) -> None:
    *parents, last = path
    for part in parents:
        config = config[part]
    config[last] = None


def _of(call: StageCall, round: int) -> dict[str, Any]:
    return {"round": round, "stage": call.name, "run": call.run}


def _mark(*folders: Path) -> str:
    """How far an unfinished stage has come: names and sizes of what it has left behind."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = sorted(f"{path}:{path.stat().st_size}" for path in files)
    return hashlib.sha256("\n".join(found).encode()).hexdigest()[:12]


def _told(artifact: Artifact) -> dict[str, Any]:
    figures = {name: figure.as_json() for name, figure in artifact.figures.items()}
    return {"artifact": artifact.ref, "figures": figures}


def _took(seconds: float, used: Usage, artifact: Artifact | None) -> dict[str, Any]:
    """What a stage cost. The tokens trained on are known once it has ended well."""
    trained = artifact.figures.get("tokens") if artifact and artifact.stage[:4] == "fit." else None
    return {
        "seconds": round(seconds, 2),
        "trained_tokens": int(trained.value) if trained else 0,
        "sampled_tokens": used.sampled,
        "served_tokens": {model: list(counts) for model, counts in used.served.items()},
    }
