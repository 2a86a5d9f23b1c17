"""Recipes shipped with burnish, by name."""

from __future__ import annotations

from pathlib import Path

from burnish.config import InputError, Problem

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names ``burnish run`` takes without a path."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def resolve(name_or_path: str) -> Path:
    """A recipe file from a shipped name or a path.

    Raises:
        InputError: neither a file nor a shipped name.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    if name_or_path in names():
        return FOLDER / f"{name_or_path}.yaml"
    expected = f"expected a recipe file or one of {', '.join(names())}"
    raise InputError(Problem(name_or_path, None, "", "no such recipe", expected))
