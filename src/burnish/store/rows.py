"""A user's row as a record: the common column layouts, missing fields filled, types checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
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

R = TypeVar("R", bound=Record)
Fields = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool")
_SHAREGPT = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
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


class RowError(Exception):
    """A row that is no record; ``findings`` are ``(field, found, expected)``."""

    def __init__(self, *findings: tuple[str, str, str]) -> None:
        self.findings = findings
        super().__init__(str(findings))


def record(kind: type[R], row: Mapping[str, Any], source: str) -> R:
    """Turn a row into a record of ``kind``.

    Accepts burnish's own columns, TRL's (``messages``; ``prompt`` and ``completion``, also called
    ``reply``; ``prompt``, ``chosen``, ``rejected``; a reply with ``label``; strings or lists of
    messages, with the prompt inside the replies or apart), Alpaca's (``instruction``, ``input``,
    ``output``) and ShareGPT's (``conversations`` of ``from`` and ``value``). Other columns are
    left out.

    Args:
        kind: the class of record wanted.
        row: the row as read; a null is the same as a missing field.
        source: what a row without ``source`` is said to come from.

    Raises:
        RowError: a field is missing or has another form.
    """
    fields = {name: value for name, value in row.items() if value is not None}
    _shape(kind, fields)
    for name in ("verify", "scores"):
        if isinstance(fields.get(name), str):
            fields[name] = _decoded(name, fields[name])
    _identity(kind, fields, source)
    try:
        found: R = _ADAPTERS[kind].validate_python(fields)
    except ValidationError as error:
        raise RowError(*(_finding(item) for item in error.errors())) from None
    _check(found)
    return found


def _finding(item: Any) -> tuple[str, str, str]:
    field = ".".join(str(part) for part in item["loc"])
    if item["type"] in ("missing", "missing_keyword_only_argument"):
        return field, "missing", "this field"
    return field, f"found {item['input']!r:.80}", item["msg"]


def _decoded(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowError((name, f"found {text!r:.80}", "JSON")) from None


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


def _shape(kind: type[Record], fields: Fields) -> None:
    """Bring the message columns of any known layout to those of ``kind``, in place."""
    shapes: dict[type[Record], Callable[[Fields], None]] = {
        Example: _as_example,
        Prompt: _as_prompt,
        Preference: _as_preference,
        Feedback: _as_feedback,
    }
    if kind in shapes:
        shapes[kind](fields)
    elif kind is Rollout and "prompt" in fields:
        fields["prompt"] = _messages(fields["prompt"], "prompt", "user")


def _as_example(fields: Fields) -> None:
    if "messages" in fields:
        fields["messages"] = _messages(fields["messages"], "messages", "user")
    elif "conversations" in fields:
        fields["messages"] = _system(fields) + _sharegpt(fields)
    elif "instruction" in fields:
        reply = _messages(_required(fields, "output"), "output", "assistant")
        fields["messages"] = _instruction(fields) + reply
    elif "prompt" in fields:
        prompt = _messages(fields["prompt"], "prompt", "user")
        name = "reply" if "reply" in fields else "completion"
        reply = _messages(_required(fields, name), name, "assistant")
        fields["messages"] = _system(fields) + prompt + reply
    else:
        raise RowError(_layouts("messages", "prompt + completion"))


def _as_prompt(fields: Fields) -> None:
    if "messages" in fields:
        fields["messages"] = _messages(fields["messages"], "messages", "user")
    elif "conversations" in fields:
        fields["messages"] = _system(fields) + _sharegpt(fields)
    elif "instruction" in fields:
        fields["messages"] = _instruction(fields)
    elif "prompt" in fields:
        fields["messages"] = _system(fields) + _messages(fields["prompt"], "prompt", "user")
    else:
        raise RowError(_layouts("messages", "prompt"))


def _as_preference(fields: Fields) -> None:
    chosen = _messages(_required(fields, "chosen"), "chosen", "assistant")
    rejected = _messages(_required(fields, "rejected"), "rejected", "assistant")
    if "prompt" in fields:
        prompt = _system(fields) + _messages(fields["prompt"], "prompt", "user")
    else:
        prompt = _common(chosen, rejected)
    size = len(prompt)
    fields["prompt"] = prompt
    fields["chosen"] = chosen[size:] if chosen[:size] == prompt else chosen
    fields["rejected"] = rejected[size:] if rejected[:size] == prompt else rejected
    objectives = fields.get("objectives", {})
    if isinstance(objectives, str):
        objectives = _decoded("objectives", objectives)
    if isinstance(objectives, dict):
        # Parquet gives every row the keys of all rows, with nulls.
        objectives = {name: value for name, value in objectives.items() if value is not None}
    fields["objectives"] = objectives


def _as_feedback(fields: Fields) -> None:
    if "messages" in fields:
        turns = _messages(fields["messages"], "messages", "user")
        fields["prompt"], fields["completion"] = turns[:-1], turns[-1:]
    else:
        prompt = _messages(_required(fields, "prompt"), "prompt", "user")
        fields["prompt"] = _system(fields) + prompt
        fields["completion"] = _messages(_required(fields, "completion"), "completion", "assistant")


def _common(first: list[Fields], second: list[Fields]) -> list[Fields]:
    """The turns both conversations begin with, up to the last user turn among them."""
    size = 0
    while size < min(len(first), len(second)) and first[size] == second[size]:
        size += 1
    while size and first[size - 1]["role"] != "user":
        size -= 1
    return first[:size]


def _layouts(*own: str) -> tuple[str, str, str]:
    known = ", ".join((*own, "instruction + output", "conversations"))
    return own[0], "missing", f"one of these sets of columns: {known}"


def _required(fields: Fields, name: str) -> Any:
    if name not in fields:
        raise RowError((name, "missing", "this field"))
    return fields[name]


def _system(fields: Fields) -> list[Fields]:
    text = fields.get("system")
    return [{"role": "system", "content": text}] if isinstance(text, str) and text else []


def _instruction(fields: Fields) -> list[Fields]:
    task, given = fields["instruction"], fields.get("input", "")
    if not isinstance(task, str) or not isinstance(given, str):
        raise RowError(("instruction", "found no text", "text in instruction and input"))
    text = f"{task}\n\n{given}" if given.strip() else task
    return [*_system(fields), {"role": "user", "content": text}]


def _sharegpt(fields: Fields) -> list[Fields]:
    turns = fields["conversations"]
    if isinstance(turns, list):
        turns = [
            {"role": turn.get("from"), "content": turn.get("value")}
            if isinstance(turn, dict) and "from" in turn
            else turn
            for turn in turns
        ]
    return _messages(turns, "conversations", "user")


def _messages(value: Any, field: str, role: str) -> list[Fields]:
    """``value`` as messages; a string is one turn of ``role``."""
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        raise RowError((field, f"found {value!r:.80}", "text or a list of messages"))
    return [_message(item, f"{field}.{index}") for index, item in enumerate(value)]


def _message(item: Any, field: str) -> Fields:
    if not isinstance(item, dict):
        raise RowError((field, f"found {item!r:.80}", "an object with role and content"))
    role, content = item.get("role"), item.get("content")
    role = _SHAREGPT.get(role, role) if isinstance(role, str) else role
    if role not in ROLES:
        raise RowError((f"{field}.role", f"found {role!r:.80}", f"one of {', '.join(ROLES)}"))
    if isinstance(content, list) and all(
        isinstance(part, dict) and isinstance(part.get("text"), str) for part in content
    ):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise RowError((f"{field}.content", f"found {content!r:.80}", "text"))
    return {"role": role, "content": content}


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
        for name, value in found.objectives.items():
            if not math.isfinite(value):
                raise RowError((f"objectives.{name}", f"found {value}", "a finite number"))


def _ends_with(messages: Any, field: str, role: str) -> None:
    if not messages:
        raise RowError((field, "empty", f"a conversation that ends with a turn of {role}"))
    if messages[-1]["role"] != role:
        raise RowError((field, f"ends with a turn of {messages[-1]['role']}", f"a turn of {role}"))
