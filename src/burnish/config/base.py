"""The base of every settings class, and how settings refer to models and data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys. A component owns its own, under 20 fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True)
class Reference:
    """Marks a settings field that names a model or data set to be resolved before a run.

    ``"@sft"`` is the latest artifact of the stage ``sft``, ``"@champion"`` the current
    champion, ``"burnish:quickstart/sft.jsonl.gz"`` a file shipped with burnish; anything else
    is a path (relative to the recipe) or, for a model, a hub id.
    """

    kind: Literal["model", "data"]


ModelRef = Annotated[str, Reference("model")]
DataRef = Annotated[str, Reference("data")]


def references(settings: type[Settings]) -> dict[str, Reference]:
    """The fields of ``settings`` that are references, by name (also lists of references)."""
    found: dict[str, Reference] = {}
    for name, field in settings.model_fields.items():
        marks = [mark for mark in field.metadata if isinstance(mark, Reference)]
        marks += _nested_marks(field.annotation)
        if marks:
            found[name] = marks[0]
    return found


def _nested_marks(annotation: object) -> list[Reference]:
    marks = [m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, Reference)]
    for argument in getattr(annotation, "__args__", ()):
        marks += _nested_marks(argument)
    return marks
