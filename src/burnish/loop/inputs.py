"""What a recipe asks of its user: ``inputs`` by name, put where the recipe says ``$name``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.config import InputError, Problem
from burnish.config.yamlfile import KeyPath, line_of

_NAME = re.compile(r"\$([a-z][a-z0-9_]*)")
LEFT_OUT = object()


@dataclass
class _Filling:
    """``inputs`` as given, and the names that were used."""

    inputs: dict[str, Any]
    used: dict[str, None] = field(default_factory=dict)

    def value(self, item: Any) -> Any:
        """``item`` with inputs in it; one given as ``[]`` is left out of the mapping it is in."""
        if isinstance(item, dict):
            filled = {key: self.value(inner) for key, inner in item.items()}
            return {key: inner for key, inner in filled.items() if inner is not LEFT_OUT}
        if isinstance(item, list):
            return [one for inner in item for one in self._spliced(inner)]
        match = _NAME.fullmatch(item) if isinstance(item, str) else None
        if match is None:
            return item
        self.used[match[1]] = None
        given = self.inputs.get(match[1])
        return LEFT_OUT if given == [] else given

    def _spliced(self, item: Any) -> list[Any]:
        filled = self.value(item)
        if filled is LEFT_OUT:
            return []
        named = isinstance(item, str) and _NAME.fullmatch(item)
        return filled if named and isinstance(filled, list) else [filled]


def fill(value: dict[str, Any], file: Path, lines: dict[KeyPath, int]) -> dict[str, Any]:
    """The recipe with every ``$name`` replaced by what ``inputs`` gives.

    In a list, the files of an input take the place of its name. An input that is null has to be
    given; ``asks`` says what it is for. One given as ``[]`` is left out.

    Raises:
        InputError: names each input that is used and not given, or not among ``inputs``.
    """
    inputs, asks = value.get("inputs") or {}, value.get("asks") or {}
    if not isinstance(inputs, dict) or not isinstance(asks, dict):
        return value  # the header's own types say what is wrong
    filling = _Filling(inputs)
    parts = ("model", "prepare", "round")
    filled = {name: filling.value(value[name]) for name in parts if name in value}
    problems = []
    for name in filling.used:
        if inputs.get(name) is not None:
            continue
        found = "not given" if name in inputs else "no such input"
        known = f"expected one of {', '.join(inputs)}" if name not in inputs else ""
        expected = known or f"{asks.get(name, 'a value')}: --set inputs.{name}=..."
        place = line_of(("inputs", name), lines)
        problems.append(Problem(str(file), place, f"inputs.{name}", found, expected))
    if problems:
        raise InputError(problems)
    return {**value, **filled}
