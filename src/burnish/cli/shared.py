"""What several commands share: common options, where text goes, how a model is named."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console

from burnish.config import InputError, Problem, Settings

if TYPE_CHECKING:
    from burnish.engine import Progress

S = TypeVar("S", bound=Settings)

Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds all runs.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set one value, e.g. seed=1 (repeatable)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]

DEFAULT_RUNS = Path("runs")


out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(text: str, style: str | None = None) -> None:
    """One line on standard output, as it is: no markup, not broken at the terminal's width."""
    out.print(text, style=style, markup=False, soft_wrap=True)


def warn(text: str, style: str | None = None) -> None:
    """One line on standard error, as it is."""
    err.print(text, style=style, markup=False, soft_wrap=True)


def example(*lines: str) -> str:
    """The closing part of a command's help: commands that work as written."""
    return "**Example**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


def print_json(value: Any) -> None:
    """One JSON object on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def settings_from(kind: type[S], given: Mapping[str, Any], items: Sequence[str] | None) -> S:
    """Settings from options that were given (those that are not None) and ``--set`` items.

    Raises:
        InputError: a key is unknown, or a value is not what it takes.
    """
    from burnish.config.yamlfile import parse
    from burnish.loop.recipe import override

    value = {name: item for name, item in given.items() if item is not None}
    for item in items or []:
        override(value, item)
    return parse(kind, value, file="--set", lines={})


def refuse_existing(path: Path) -> None:
    """Raise InputError where a file or folder that is to be written exists."""
    if path.exists():
        raise InputError(Problem(str(path), None, "--out", "exists already", "name a new one"))


def progress(quiet: bool) -> Progress:
    """Bars on standard error, or silence."""
    from transformers.utils import logging

    from burnish.engine import RichProgress, SilentProgress

    logging.disable_progress_bar()  # burnish's own bars are enough

    return SilentProgress() if quiet else RichProgress(err)


def run_folder(name_or_path: str, runs: Path) -> Path:
    """A run folder from its path or its name below ``runs``.

    Raises:
        InputError: there is no such run; the message names those that exist.
    """
    from burnish.loop.status import run_folders

    for path in (Path(name_or_path), runs / name_or_path):
        if (path / "recipe.yaml").is_file() or (path / "summary.json").is_file():
            return path
    known = ", ".join(path.name for path in run_folders(runs)) or f"no runs in {runs}"
    raise InputError(Problem(name_or_path, None, "", "no such run", f"known runs: {known}"))
