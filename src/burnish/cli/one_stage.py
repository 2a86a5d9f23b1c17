"""Run a few stages that a command line describes, through the same loop as any recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from burnish.store.atomic import write_text

if TYPE_CHECKING:
    from burnish.engine import Progress


@dataclass(frozen=True)
class Made:
    """What such a run left: its summary, and the artifact folder of each stage."""

    summary: dict[str, Any]
    folders: dict[str, Path]


def run_stages(
    stages: Mapping[str, Mapping[str, Any]],
    *,
    model: str,
    work: Path,
    overrides: Sequence[str] = (),
    progress: Progress,
) -> Made:
    """Write a recipe of these stages into ``work`` and run it there.

    Args:
        stages: settings by name, as below ``prepare`` in a recipe.
        model: what ``@base`` is.
        work: where recipe and run folder go; the same folder continues an interrupted run.
        overrides: ``key=value`` items of the whole recipe.
        progress: shows bars, or nothing.

    Raises:
        InputError: as ``burnish run`` would.
    """
    from burnish.loop.recipe import load
    from burnish.loop.run import run

    recipe = {"name": "work", "model": model, "prepare": {n: dict(s) for n, s in stages.items()}}
    path = work / "recipe.yaml"
    write_text(path, yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))
    loaded = load(path, list(overrides))
    run(loaded, work, progress=progress)
    folder = work / loaded.name
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    # By the stage: a measurement that two of them share is one artifact.
    folders = {
        stage["name"]: folder / "artifacts" / stage["artifact"]
        for stage in summary["stages"]
        if stage["artifact"]
    }
    return Made(summary, folders)
