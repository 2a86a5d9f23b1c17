"""Write ``docs/recipe-reference.md`` from the settings classes.

python tools/make_docs.py            write it
python tools/make_docs.py --check    exit 1 when it is out of date
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from burnish.config import Settings
from burnish.config.base import Reference
from burnish.loop.recipe import Header
from burnish.stages import catalog

PATH = Path(__file__).parents[1] / "docs" / "recipe-reference.md"
INTRODUCTION = """# Recipe reference

<!-- Written by tools/make_docs.py from the code. Do not edit: change the docstrings instead. -->

A recipe is a YAML file. `prepare` stages run once, `round` stages once a round; each stage has a
name of your choosing and names what it runs. Any key can be set on the command line:
`burnish run quickstart --set prepare.sft.train.epochs=2`.

References: `@base` is the recipe's model, `@champion` the best model so far, `@sft` what the stage
named `sft` made, `@generate/preferences.jsonl` a file in it, `burnish:quickstart/sft.jsonl.gz` a
file that comes with burnish; anything else is a path beside the recipe, and for a model also a
shipped name (`burnish-tiny`, `smollm2`) or a hub id. Where a table says so, the address of a
[served model](your-model.md#a-served-model) will do: `http://127.0.0.1:8000/v1#its-name`.
"""


def document() -> str:
    """The whole page."""
    nested: dict[str, type[Settings]] = {}
    parts = [INTRODUCTION, "## The top of a recipe\n", describe(Header, nested)]
    for name in catalog.names():
        module = catalog.find(name)
        about = inspect.cleandoc(module.__doc__ or "").splitlines()[0]
        parts += [f"## `{name}`\n", f"{about}\n", describe(module.Config, nested)]
    parts.append("# Shared settings\n")
    done: set[str] = set()
    while todo := sorted(nested.keys() - done):
        name = todo[0]
        done.add(name)
        parts += [f"## {name}\n", describe(nested[name], nested)]
    return "\n".join(parts).rstrip() + "\n"


def describe(settings: type[Settings], nested: dict[str, type[Settings]]) -> str:
    """The docstring of a settings class and a table of its fields."""
    rows = ["| key | type | default | |", "| --- | --- | --- | --- |"]
    for name, field in settings.model_fields.items():
        kind = written(typing.get_type_hints(settings, include_extras=True)[name], nested)
        limits = [limit for item in field.metadata if (limit := limit_of(item))]
        notes = "; ".join([*limits, *([field.description] if field.description else [])])
        rows.append(f"| `{name}` | {kind} | {default_of(field)} | {notes} |")
    about = inspect.cleandoc(settings.__doc__ or "")
    return (about + "\n\n" + "\n".join(rows) + "\n").replace("``", "`")


def written(hint: Any, nested: dict[str, type[Settings]]) -> str:
    """A type as a reader of YAML understands it."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        marks = [mark for mark in arguments[1:] if isinstance(mark, Reference)]
        if marks:
            what = marks[0]
            if what.kind == "data":
                return f"data ({what.records})"
            return "model, or the address of one" if what.served else "model"
        return written(arguments[0], nested)
    if origin is typing.Literal:
        return " \\| ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(written(item, nested) for item in arguments if item is not type(None))
    if origin in (list, tuple):
        items = [item for item in arguments if item is not Ellipsis]
        return f"list of {written(items[0], nested)}"
    if origin is dict and typing.get_origin(arguments[1]) is dict:
        return "stages by name"
    if origin is dict:
        return f"mapping to {written(arguments[1], nested)}"
    if isinstance(hint, type) and issubclass(hint, Settings):
        nested[hint.__name__] = hint
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return names.get(hint, "any")


def default_of(field: Any) -> str:
    """The default as YAML, or that there is none."""
    if field.default is PydanticUndefined:
        if field.default_factory is None:
            return "**required**"
        value = field.default_factory()
    else:
        value = field.default
    if value in ("", {}) or (isinstance(value, Settings) and not changed(value)):
        return ""
    return f"`{yaml(value)}`"


def changed(settings: Settings) -> dict[str, Any]:
    """The fields of a default that differ from their class's own defaults."""
    return {
        name: value
        for name, field in type(settings).model_fields.items()
        if (value := getattr(settings, name)) != field.get_default(call_default_factory=True)
    }


def yaml(value: Any) -> str:
    """A plain value in one line of YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(yaml(item) for item in value) + "]"
    if isinstance(value, Settings):
        value = changed(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {yaml(item)}" for key, item in value.items()) + "}"
    return str(value)


def limit_of(item: Any) -> str:
    """A bound of pydantic's in words."""
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    for name, word in words.items():
        bound = getattr(item, name, None)
        if bound is not None:
            return f"{word} {bound}"
    return ""


def main() -> int:
    """Write the page, or check it."""
    page = document()
    if "--check" in sys.argv[1:]:
        current = PATH.read_text(encoding="utf-8") if PATH.exists() else ""
        if current != page:
            print(f"{PATH.name} is out of date; run: python tools/make_docs.py")
            return 1
        return 0
    PATH.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
