"""``summary.json``: what a run came to, for people's tables and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.loop.events import EVENTS
from burnish.loop.execute import Step, Workshop
from burnish.records import Figure
from burnish.store.artifacts import Artifact, peak_rss_bytes


def build(
    workshop: Workshop,
    champions: Sequence[Path],
    rounds: Sequence[dict[str, Any]],
    status: str,
    seconds: float,
    stopped: str = "",
) -> dict[str, Any]:
    """The summary as JSON. ``champions``: the model before round 1 and after each round;
    ``stopped``: why the run ended before its last round, where it did."""
    steps = workshop.steps
    named = _figures(workshop, champions)
    figures: dict[str, float] = {}
    for name, figure in named.items():
        figures |= figure.flat(name)
    made = _artifacts(steps)
    # Stages taken from an earlier, interrupted invocation count with the time they took there.
    here = {s.artifact.ref for s in steps if s.artifact and s.state == "done"}
    earlier = sum(artifact.wall_seconds for artifact in made if artifact.ref not in here)
    cost = workshop.spent()
    return {
        "run": workshop.folder.name,
        "recipe": workshop.recipe.header.name,
        "about": workshop.recipe.header.about,
        "seed": workshop.recipe.header.seed,
        "model": workshop.recipe.header.model,
        "status": status,
        "stopped": stopped,
        "figures": figures,
        "verdicts": list(rounds),
        "artifacts": [_artifact(artifact, workshop.folder) for artifact in made],
        "stages": [_stage(step) for step in steps],
        "series": _series(workshop, champions),
        "champion": champions[-1].name if champions else None,
        "wall_seconds": round(seconds + earlier, 2),
        "spent": {**asdict(cost), "tokens": cost.tokens},
        "peak_rss_bytes": max([peak_rss_bytes(), *(a.peak_rss_bytes for a in made)]),
        "paths": {
            name: str(workshop.folder / file)
            for name, file in (
                ("folder", "."),
                ("report", "report.html"),
                ("report_zh", "report.zh.html"),
                ("summary", "summary.json"),
                ("metrics", "metrics.jsonl"),
                ("events", EVENTS),
                ("recipe", "recipe.yaml"),
            )
        },
    }


def _artifacts(steps: Sequence[Step]) -> list[Artifact]:
    found = {step.artifact.ref: step.artifact for step in steps if step.artifact is not None}
    return sorted(found.values(), key=lambda artifact: artifact.sequence)


def _artifact(artifact: Artifact, folder: Path) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "version": artifact.version,
        "kind": artifact.kind,
        "stage": artifact.stage,
        "round": artifact.round,
        "path": str(artifact.path.relative_to(folder)),
        "parents": list(artifact.parents),
        "figures": {name: figure.as_json() for name, figure in artifact.figures.items()},
    }


def _stage(step: Step) -> dict[str, Any]:
    artifact = step.artifact
    return {
        "name": step.name,
        "stage": step.stage,
        "round": step.round,
        "state": step.state,
        "cause": step.cause,
        "artifact": artifact.ref if artifact else None,
        "seconds": round(artifact.wall_seconds, 2) if artifact else 0.0,
        "figures": {n: f.as_json() for n, f in artifact.figures.items()} if artifact else {},
    }


def _evaluations(steps: Sequence[Step]) -> dict[str, Artifact]:
    """The first evaluation of each model in a round, by the model's folder name."""
    found: dict[str, Artifact] = {}
    for step in steps:
        if step.artifact is not None and step.stage == "measure.evaluate" and step.round > 0:
            found.setdefault(step.artifact.details["model"], step.artifact)
    return found


def _figures(workshop: Workshop, champions: Sequence[Path]) -> dict[str, Figure]:
    """The recipe's named figures: ``@stage.figure``, ``start.figure`` or ``final.figure``."""
    places: dict[str, Artifact] = {}
    for step in workshop.steps:
        if step.artifact is not None:
            places[f"@{step.name}"] = step.artifact
    evaluated = _evaluations(workshop.steps)
    if champions and champions[0].name in evaluated:
        places["start"] = evaluated[champions[0].name]
    if champions and champions[-1].name in evaluated:
        places["final"] = evaluated[champions[-1].name]
    found = {}
    for name, source in workshop.recipe.header.figures.items():
        place, _, figure = source.partition(".")
        if place in places and figure in places[place].figures:
            found[name] = places[place].figures[figure]
    return found


def _series(workshop: Workshop, champions: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Each evaluated figure of the champion: before round 1 and after each round."""
    evaluated = _evaluations(workshop.steps)
    series: dict[str, list[dict[str, Any]]] = {}
    for round, champion in enumerate(champions):
        artifact = evaluated.get(champion.name)
        for name, figure in artifact.figures.items() if artifact else ():
            series.setdefault(name, []).append({"round": round, **figure.as_json()})
    return series
