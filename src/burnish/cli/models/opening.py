"""What the commands about models share: the registry, and how a model is named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.config import InputError, Problem
from burnish.store.registry import Registry

CHAMPION = "champion"
Ref = Annotated[str, typer.Argument(help="A registered artifact, e.g. ppo@2, or an alias.")]


def open_registry(runs: Path) -> Registry:
    """The registry of a runs folder; raises InputError where nothing has run yet."""
    path = runs / "registry.sqlite"
    if not path.is_file():
        expected = "start one with: burnish run quickstart"
        raise InputError(Problem(str(path), None, "", "no registry yet", expected))
    return Registry(path)
