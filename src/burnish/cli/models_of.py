"""From what a person types as MODEL to something that can be loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem, is_served


def resolve_model(name: str, runs: Path) -> str:
    """A model folder as it is; a run's name or folder as its champion; ``run/stage@1`` as that
    artifact; an alias of the registry such as ``champion``; else a shipped name, a hub id, or the
    address of a served model.

    Raises:
        InputError: the run has no model yet.
    """
    if is_served(name):
        return name
    for path in (Path(name).expanduser(), runs / name):
        if (path / "config.json").is_file():
            return str(path)
        if (path / "summary.json").is_file():
            return str(champion_of(path))
    run, _, artifact = name.rpartition("/")
    for place in (Path(run), runs / run):
        if run and (place / "artifacts" / artifact / "config.json").is_file():
            return str(place / "artifacts" / artifact)
    return _registered(name, runs) or name


def champion_of(run: Path) -> Path:
    """The champion's folder of a run, or its last model where it had no rounds."""
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    models = [
        f"{artifact['name']}@{artifact['version']}"
        for artifact in summary.get("artifacts", [])
        if artifact.get("kind") == "model"
    ]
    for label in (summary.get("champion"), *reversed(models)):
        folder = run / "artifacts" / str(label)
        if (folder / "config.json").is_file():
            return folder
    raise InputError(Problem(str(run), None, "", "this run has made no model yet"))


def located(name: str, runs: Path) -> tuple[str, str]:
    """Where a model to be served is now, and what it is called: ``ppo@2`` where it is registered.

    Of a run it is the model that was last promoted of those the run made, by a gate or by hand;
    the run's own champion where none was. Looking again later may give another one.

    Raises:
        InputError: the run has no model yet.
    """
    from burnish.store.registry import Registry

    run = next((path for path in (Path(name), runs / name) if (path / "artifacts").is_dir()), None)
    registry_file = runs / "registry.sqlite"
    if not registry_file.is_file():
        return resolve_model(name, runs), name
    with Registry(registry_file) as registry:
        refs = {entry.ref: entry for entry in registry.entries()}
        if run is not None:
            inside = [
                refs[move.after]
                for move in registry.moves("champion")
                if move.done and Path(refs[move.after].path).resolve().is_relative_to(run.resolve())
            ]
            if inside:
                return inside[-1].path, inside[-1].ref
        place = resolve_model(name, runs)
        known = [entry.ref for entry in refs.values() if entry.path == place]
        return place, known[-1] if known else name


def _registered(alias: str, runs: Path) -> str | None:
    """The folder an alias points to, or None where there is no such alias."""
    from burnish.store.registry import Registry

    path = runs / "registry.sqlite"
    if not path.is_file():
        return None
    with Registry(path) as registry:
        ref = registry.alias(alias)
        return registry.get(ref).path if ref else None
