"""A user's row as a record: the common column layouts, missing fields filled, types checked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from burnish.records import (
    Document,
    Example,
    Feedback,
    Language,
    Preference,
    Prompt,
    Record,
    Rollout,
    content_id,
)
from burnish.store.layouts import Fields, RowError, decoded, shape

R = TypeVar("R", bound=Record)
_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[\U00020000-\U0003fa1f]")
_CJK_SHARE = 0.2
_CONTENT: dict[type[Record], tuple[str, ...]] = {
    Document: ("text",),
    Example: ("messages",),
    Prompt: ("messages",),
    Preference: ("prompt", "chosen", "rejected"),
    Feedback: ("prompt", "completion", "label"),
    Rollout: ("prompt", "completion"),
}
_ADAPTERS: dict[type[Record], TypeAdapter[Any]] = {kind: TypeAdapter(kind) for kind in _CONTENT}


def record(kind: type[R], row: Mapping[str, Any], source: str) -> R:
    """Turn a row into a record of ``kind``.

    Accepts burnish's own columns, TRL's (``messages``; ``prompt`` and ``completion``, also called
    ``reply``; ``prompt``, ``chosen``, ``rejected``; a reply with ``label``; strings or lists of
    messages, with the prompt inside the replies or apart), Alpaca's (``instruction``, ``input``,
    ``output``, ``history``), ShareGPT's (``conversations`` of ``from`` and ``value``) and OpenAI's
    (messages in parts, calls of functions, ``preferred_output``). Other columns are left out.

    Args:
        kind: the class of record wanted.
        row: the row as read; a null is the same as a missing field.
        source: what a row without ``source`` is said to come from.

    Raises:
        RowError: a field is missing or has another form.
    """
    fields = {name: value for name, value in row.items() if value is not None}
    shape(kind, fields)
    for name in ("verify", "scores"):
        if isinstance(fields.get(name), str):
            fields[name] = decoded(name, fields[name])
    _identity(kind, fields, source)
    try:
        found: R = _ADAPTERS[kind].validate_python(fields)
    except ValidationError as error:
        raise RowError(*(_finding(item) for item in error.errors())) from None
    _check(found)
    return found


def content_of(found: Record) -> list[Any]:
    """What makes two records the same: the fields that ``id`` is worked out from."""
    return [getattr(found, name) for name in _CONTENT[type(found)]]


def _finding(item: Any) -> tuple[str, str, str]:
    field = ".".join(str(part) for part in item["loc"])
    if item["type"] in ("missing", "missing_keyword_only_argument"):
        return field, "missing", "this field"
    return field, f"found {item['input']!r:.80}", item["msg"]


def detect_language(text: str) -> Language:
    """ "zh" when at least a fifth of the characters that are not white space are Chinese."""
    solid = len("".join(text.split()))
    return "zh" if solid and len(_CJK.findall(text)) >= _CJK_SHARE * solid else "en"


def _identity(kind: type[Record], fields: Fields, source: str) -> None:
    content = [fields.get(name) for name in _CONTENT[kind]]
    if fields.get("id", "") == "":
        fields["id"] = content_id(*content)
    elif isinstance(fields["id"], int):
        fields["id"] = str(fields["id"])
    if not fields.get("source"):
        fields["source"] = source
    lang = fields.get("lang")
    if isinstance(lang, str) and lang:
        fields["lang"] = re.split(r"[-_]", lang.lower())[0]
    else:
        fields["lang"] = detect_language(_visible(content))


def _visible(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(_visible(item) for item in content)
    return _visible(content.get("content")) if isinstance(content, dict) else ""


def _check(found: Record) -> None:
    """What types cannot say: conversations end with the right speaker and are not empty."""
    if isinstance(found, Document) and not found.text.strip():
        raise RowError(("text", "empty", "text"))
    if isinstance(found, Example):
        replies = [turn["content"] for turn in found.messages if turn["role"] == "assistant"]
        if not any(text.strip() for text in replies):
            raise RowError(("messages", "no assistant turn with text", "at least one to train on"))
    if isinstance(found, Prompt):
        _ends_with(found.messages, "messages", "user")
    if isinstance(found, Feedback):
        _ends_with(found.prompt, "prompt", "user")
        _ends_with(found.completion, "completion", "assistant")
    if isinstance(found, Preference):
        _ends_with(found.prompt, "prompt", "user")
        _ends_with(found.chosen, "chosen", "assistant")
        _ends_with(found.rejected, "rejected", "assistant")
        if found.rejected == found.chosen:
            raise RowError(("rejected", "the same as chosen", "another reply"))
        if not 0 <= found.probability <= 1:
            raise RowError(("probability", f"found {found.probability}", "a number from 0 to 1"))
    for field, value in _numbers(found):
        if not math.isfinite(value):
            raise RowError((field, f"found {value}", "a finite number"))


def _numbers(found: Record) -> Iterator[tuple[str, float]]:
    for name in ("weight", "margin", "reward"):
        yield name, getattr(found, name, 0.0)
    for name in ("objectives", "scores"):
        values: dict[str, float] = getattr(found, name, {})
        yield from ((f"{name}.{key}", value) for key, value in values.items())
    yield from (("logprobs", value) for value in getattr(found, "logprobs", ()))


def _ends_with(messages: Any, field: str, role: str) -> None:
    if not messages:
        raise RowError((field, "empty", f"a conversation that ends with a turn of {role}"))
    if messages[-1]["role"] != role:
        raise RowError((field, f"ends with a turn of {messages[-1]['role']}", f"a turn of {role}"))
