"""YAML with line numbers, so that every error names file, line and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from burnish.config.base import Settings
from burnish.config.errors import InputError, Problem

KeyPath = tuple[str | int, ...]
S = TypeVar("S", bound=Settings)


def load_yaml(path: Path) -> tuple[Any, dict[KeyPath, int]]:
    """Read a YAML file; returns its value and the line of every key and list item.

    Raises:
        InputError: the file is missing, not UTF-8, not valid YAML, or has a duplicate key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(Problem(str(path), None, "", "no such file")) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(str(path), None, "", f"cannot be read: {error}")) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        what = getattr(error, "problem", None) or str(error)
        raise InputError(Problem(str(path), line, "", f"not valid YAML: {what}")) from None
    lines: dict[KeyPath, int] = {}
    if node is not None:
        _collect_lines(node, (), lines, str(path))
    return value, lines


def _collect_lines(node: Any, at: KeyPath, lines: dict[KeyPath, int], file: str) -> None:
    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            path = (*at, key.value)
            if path in lines:
                line = key.start_mark.line + 1
                raise InputError(Problem(file, line, dotted(path), "key given twice"))
            lines[path] = key.start_mark.line + 1
            _collect_lines(value, path, lines, file)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*at, index), lines, file)


def dotted(path: KeyPath) -> str:
    """``("stages", 0, "epochs")`` as ``stages.0.epochs``."""
    return ".".join(str(part) for part in path)


def line_of(path: KeyPath, lines: dict[KeyPath, int]) -> int | None:
    """The line of ``path`` or of its nearest parent that has one."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def parse(
    kind: type[S], value: Any, *, file: str, lines: dict[KeyPath, int], at: KeyPath = ()
) -> S:
    """Validate ``value`` as settings of ``kind``; raises InputError with one problem a field."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problems = [_problem(kind, item, file, lines, at) for item in error.errors()]
        raise InputError(problems) from None


def _problem(
    kind: type[Settings], item: Any, file: str, lines: dict[KeyPath, int], at: KeyPath
) -> Problem:
    path = (*at, *item["loc"])
    line = line_of(path, lines)
    if item["type"] == "extra_forbidden":
        known = ", ".join(sorted(kind.model_fields)) if len(item["loc"]) == 1 else ""
        expected = f"known keys: {known}" if known else ""
        return Problem(file, line, dotted(path), "unknown key", expected)
    if item["type"] == "missing":
        return Problem(file, line, dotted(path), "required key is missing")
    found = f"found {item['input']!r}"
    return Problem(file, line, dotted(path), found[:200], item["msg"])
