"""Packages that only cleaning needs."""

from __future__ import annotations

import importlib
from typing import Any

from burnish.config import InputError, Problem


def package(name: str, setting: str) -> Any:
    """The module ``name``, which ``setting`` asks for.

    Raises:
        InputError: it is not installed; the message names pip's extra.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        found = f"needs the package {name}, which is not installed"
        raise InputError(Problem("", None, setting, found, 'pip install "burnish[data]"')) from None
