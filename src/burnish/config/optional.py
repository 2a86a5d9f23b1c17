"""Packages that only some work needs, by pip's extras."""

from __future__ import annotations

import importlib.util

from burnish.config.errors import InputError, Problem


def needed(extra: str, *packages: str, at: str = "") -> None:
    """Make sure that packages (by the names they are imported by) are there to be imported.

    Args:
        at: the setting that asks for them.

    Raises:
        InputError: some are not installed; the message names them and the extra that has them.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        found = f"this needs packages that are not installed: {', '.join(missing)}"
        raise InputError(Problem("", None, at, found, f'pip install "burnish[{extra}]"'))
