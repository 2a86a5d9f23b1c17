"""Run a few stages that a command line describes, through the same loop as any recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from burnish.store.atomic import new_folder, write_text
from burnish.store.names import ARTIFACT

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


def make(
    name: str,
    stage: Mapping[str, Any],
    out: Path,
    *,
    model: str,
    set_: Sequence[str] | None,
    progress: Progress,
) -> dict[str, Any]:
    """Run one stage and write what it made as the new folder ``out``.

    Args:
        set_: ``key=value`` items of what the stage calls ``name``, its own settings.

    Returns:
        The details that the stage recorded.
    """
    work = work_folder(out)
    overrides = [f"prepare.{name}.{name}.{item}" for item in set_ or []]
    made = run_stages({name: stage}, model=model, work=work, overrides=overrides, progress=progress)
    place(made.folders[name], out)
    shutil.rmtree(work)
    details: dict[str, Any] = record_of(out)["details"]
    return details


def work_folder(out: Path) -> Path:
    """Where a command works that writes ``out``: given again, it continues there."""
    return out.with_name(f".{out.name}.work")


def place(folder: Path, out: Path, replace: bool = False) -> None:
    """Copy what a stage made to ``out``, whole or not at all."""
    with new_folder(out, replace=replace) as fresh:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)


def record_of(folder: Path) -> dict[str, Any]:
    """What a stage wrote down of itself."""
    record: dict[str, Any] = json.loads((folder / ARTIFACT).read_text(encoding="utf-8"))
    return record
