"""Run one stage, or take what an earlier run of the same stage made."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem, references
from burnish.engine import Progress
from burnish.loop import crew
from burnish.loop.recipe import Recipe, StageCall
from burnish.loop.references import Resolved, resolve
from burnish.stages.base import Context, derived_seed
from burnish.store.artifacts import Artifact, ArtifactStore, Origin, difference, fingerprint


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

    def execute(self, call: StageCall, round: int) -> tuple[Artifact, Resolved]:
        """Make or take the artifact of one stage and remember it under the stage's name.

        Raises:
            InputError: it exists but was made from other settings or inputs.
        """
        resolved = resolve(call, self.recipe, self.made)
        origin = self._origin(call, round, resolved)
        artifact = self._existing(call, round, origin)
        state = "done" if artifact is None else "reused"
        if artifact is None:
            artifact = self._make(call, round, resolved, origin)
        self.made[call.name] = artifact.path
        self.steps.append(Step(call.name, call.run, round, state, artifact))
        return artifact, resolved

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

    def _make(self, call: StageCall, round: int, resolved: Resolved, origin: Origin) -> Artifact:
        scratch = self.folder / "scratch" / f"{call.name}-{round}-{fingerprint(origin)[:12]}"
        if call.name in self.options.rerun:
            shutil.rmtree(scratch, ignore_errors=True)
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
