"""The stages a recipe can name, as ``group.stage``."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import burnish.stages as package
from burnish.config import InputError, Problem

GROUPS = ("curate", "fit", "measure", "release")


def names() -> list[str]:
    """Every stage name, in pipeline order: ``curate.generate``, ``fit.pretrain``, ..."""
    found = []
    for group in GROUPS:
        path = f"{package.__path__[0]}/{group}"
        found += [f"{group}.{module.name}" for module in pkgutil.iter_modules([path])]
    return found


def find(name: str) -> ModuleType:
    """The module of a stage. Raises InputError naming the stages that exist."""
    if name not in names():
        expected = f"expected one of {', '.join(names())}"
        raise InputError(Problem("", None, "run", f"unknown stage {name!r}", expected))
    return importlib.import_module(f"{package.__name__}.{name}")
