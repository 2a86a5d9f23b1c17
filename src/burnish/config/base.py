"""The base of every settings class, and how settings refer to models and data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict

RecordKind = Literal["document", "example", "prompt", "preference", "feedback", "rollout", "other"]


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys. A component owns its own, under 20 fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


@dataclass(frozen=True)
class Reference:
    """Marks a settings field that names a model or data set to be resolved before a run.

    ``"@sft"`` is the artifact of the stage ``sft``, ``"@generate/preferences.jsonl"`` a file in
    one, ``"@champion"`` the current champion, ``"@base"`` the recipe's model,
    ``"burnish:quickstart/sft.jsonl.gz"`` a file shipped with burnish; anything else is a path
    (relative to the recipe) or, for a model, a shipped name or hub id. ``records`` says what a
    data file holds, so that it can be checked before anything runs. ``served``: the model only has
    to reply, so that an address such as ``"http://127.0.0.1:8000/v1#qwen3"`` will do too. ``last``:
    may name a stage that comes later in the round, and is then what it made in the round before;
    in the first round there is none.
    """

    kind: Literal["model", "data"]
    records: RecordKind | Literal["constitution"] = "other"
    served: bool = False
    last: bool = False


ModelRef = Annotated[str, Reference("model")]
LastModelRef = Annotated[str, Reference("model", last=True)]
SamplerRef = Annotated[str, Reference("model", served=True)]
DocumentRef = Annotated[str, Reference("data", "document")]
ExampleRef = Annotated[str, Reference("data", "example")]
PromptRef = Annotated[str, Reference("data", "prompt")]
PreferenceRef = Annotated[str, Reference("data", "preference")]
FeedbackRef = Annotated[str, Reference("data", "feedback")]
ConstitutionRef = Annotated[str, Reference("data", "constitution")]
DataRef = Annotated[str, Reference("data")]
EvaluationRef = Annotated[str, Reference("data", last=True)]


def is_served(ref: str) -> bool:
    """Whether a model is named by its address: it replies there, and has no weights here."""
    return ref.lower().startswith(("http://", "https://"))


def references(settings: Settings) -> Iterator[tuple[tuple[str | int, ...], str, Reference]]:
    """Every reference in ``settings``, nested ones too: (path of the field, text, its mark)."""
    for name, field in type(settings).model_fields.items():
        marks = [mark for mark in field.metadata if isinstance(mark, Reference)]
        marks += _nested_marks(field.annotation)
        yield from _in_value(getattr(settings, name), (name,), marks[0] if marks else None)


def _in_value(
    value: Any, at: tuple[str | int, ...], mark: Reference | None
) -> Iterator[tuple[tuple[str | int, ...], str, Reference]]:
    if isinstance(value, Settings):
        for path, text, inner in references(value):
            yield (*at, *path), text, inner
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _in_value(item, (*at, index), mark)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _in_value(item, (*at, key), mark)
    elif isinstance(value, str) and mark is not None:
        yield at, value, mark


def _nested_marks(annotation: object) -> list[Reference]:
    marks = [m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, Reference)]
    for argument in getattr(annotation, "__args__", ()):
        marks += _nested_marks(argument)
    return marks
