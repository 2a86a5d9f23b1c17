"""The column layouts people have, brought to burnish's own columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from burnish.records import Example, Feedback, Preference, Prompt, Record, Rollout

Fields = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool")
_ROLE_NAMES = {
    **{role: role for role in ROLES},
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "model", "function_call", "tool_call"), "assistant"),
    **dict.fromkeys(("observation", "function", "tool_response", "function_response"), "tool"),
    "developer": "system",
}
_TURNS = ("messages", "conversations", "conversation")
_TEXT_PARTS = ("text", "input_text", "output_text")
_SPOKEN = re.compile(r"\n\n(Human|Assistant):")


class RowError(Exception):
    """A row that is no record; ``findings`` are ``(field, found, expected)``."""

    def __init__(self, *findings: tuple[str, str, str]) -> None:
        self.findings = findings
        super().__init__(str(findings))


def shape(kind: type[Record], fields: Fields) -> None:
    """Bring the message columns of any known layout to those of ``kind``, in place.

    Raises:
        RowError: they are in no known layout, or damaged.
    """
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


def role_of(turn: Any) -> str | None:
    """The speaker of a raw turn in burnish's terms, None where it has no known one."""
    role = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
    return _ROLE_NAMES.get(role) if isinstance(role, str) else None


def turns_column(fields: Fields) -> str | None:
    """The column that holds a whole conversation, if there is one."""
    return next((name for name in _TURNS if name in fields), None)


def decoded(name: str, text: str) -> Any:
    """A column that holds JSON as text; raises RowError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise RowError((name, f"found {text!r:.80}", "JSON")) from None


def _as_example(fields: Fields) -> None:
    if turns := turns_column(fields):
        fields["messages"] = _conversation(fields, turns)
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
    if turns := turns_column(fields):
        fields["messages"] = _conversation(fields, turns)
    elif "instruction" in fields:
        fields["messages"] = _instruction(fields)
    elif "prompt" in fields:
        fields["messages"] = _system(fields) + _messages(fields["prompt"], "prompt", "user")
    else:
        raise RowError(_layouts("messages", "prompt"))


def _as_preference(fields: Fields) -> None:
    _from_openai(fields)
    chosen = _reply(_required(fields, "chosen"), "chosen")
    rejected = _reply(_required(fields, "rejected"), "rejected")
    prompt = _prompt(fields)
    if prompt is None:
        prompt = _common(chosen, rejected)
    size = len(prompt)
    fields["prompt"] = prompt
    fields["chosen"] = chosen[size:] if chosen[:size] == prompt else chosen
    fields["rejected"] = rejected[size:] if rejected[:size] == prompt else rejected
    objectives = fields.get("objectives", {})
    if isinstance(objectives, str):
        objectives = decoded("objectives", objectives)
    if isinstance(objectives, dict):
        # Parquet gives every row the keys of all rows, with nulls.
        objectives = {name: value for name, value in objectives.items() if value is not None}
    fields["objectives"] = objectives
    scores = [fields.get(name) for name in ("score_chosen", "score_rejected")]
    if "margin" not in fields and all(isinstance(score, int | float) for score in scores):
        fields["margin"] = scores[0] - scores[1]  # type: ignore[operator]


def _as_feedback(fields: Fields) -> None:
    if turns := turns_column(fields):
        found = _conversation(fields, turns)
        fields["prompt"], fields["completion"] = found[:-1], found[-1:]
    elif "instruction" in fields:
        fields["prompt"] = _instruction(fields)
        fields["completion"] = _messages(_required(fields, "output"), "output", "assistant")
    else:
        prompt = _messages(_required(fields, "prompt"), "prompt", "user")
        fields["prompt"] = _system(fields) + prompt
        fields["completion"] = _messages(_required(fields, "completion"), "completion", "assistant")


def _from_openai(fields: Fields) -> None:
    """OpenAI's preference form: ``input.messages``, ``preferred_output``, the other one."""
    if "preferred_output" not in fields:
        return
    fields["chosen"] = fields["preferred_output"]
    fields["rejected"] = _required(fields, "non_preferred_output")
    given = _required(fields, "input")
    if not isinstance(given, dict) or "messages" not in given:
        raise RowError(("input", f"found {given!r:.80}", "an object with messages"))
    fields["prompt"] = given["messages"]


def _prompt(fields: Fields) -> list[Fields] | None:
    """What was asked, where it stands apart from the replies."""
    for name in ("prompt", *_TURNS, "question"):
        if name in fields:
            return _with_system(fields, _messages(fields[name], name, "user"))
    return _instruction(fields) if "instruction" in fields else None


def _reply(value: Any, field: str) -> list[Fields]:
    """A reply as text, one message, messages, or a whole ``Human: ... Assistant: ...`` talk."""
    if isinstance(value, str) and value.startswith("\n\nHuman:"):
        pieces = _SPOKEN.split(value)[1:]
        roles = {"Human": "user", "Assistant": "assistant"}
        return [
            {"role": roles[name], "content": text.strip()}
            for name, text in zip(pieces[::2], pieces[1::2], strict=True)
        ]
    return _messages([value] if isinstance(value, dict) else value, field, "assistant")


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


def _with_system(fields: Fields, turns: list[Fields]) -> list[Fields]:
    return turns if turns[0]["role"] == "system" else _system(fields) + turns


def _conversation(fields: Fields, name: str) -> list[Fields]:
    return _with_system(fields, _messages(fields[name], name, "user"))


def _instruction(fields: Fields) -> list[Fields]:
    task, given = fields["instruction"], fields.get("input", "")
    if not isinstance(task, str) or not isinstance(given, str):
        raise RowError(("instruction", "found no text", "text in instruction and input"))
    text = f"{task}\n\n{given}" if given.strip() else task
    return [*_system(fields), *_history(fields), {"role": "user", "content": text}]


def _history(fields: Fields) -> list[Fields]:
    """Alpaca's earlier turns, pairs of a request and its reply."""
    found: list[Fields] = []
    history = fields.get("history", [])
    for index, pair in enumerate(history if isinstance(history, list) else [history]):
        match pair:
            case [str(asked), str(answer)]:
                found.append({"role": "user", "content": asked})
                found.append({"role": "assistant", "content": answer})
            case _:
                raise RowError((f"history.{index}", f"found {pair!r:.80}", "a pair of texts"))
    return found


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
    role = role_of(item)
    if role is None:
        named = item.get("role", item.get("from"))
        raise RowError((f"{field}.role", f"found {named!r:.80}", f"one of {', '.join(ROLES)}"))
    for name in ("weight", "loss_weight"):
        if role == "assistant" and item.get(name) == 0:
            expected = "1: every turn of the assistant is trained"
            raise RowError((f"{field}.{name}", "found 0", expected))
    content = item.get("content", item.get("value"))
    if isinstance(content, list):
        content = _joined(content, f"{field}.content")
    calls = _calls(item, field)
    if calls:
        content = "\n".join(filter(None, (content, *calls)))
    if not isinstance(content, str):
        raise RowError((f"{field}.content", f"found {content!r:.80}", "text"))
    return {"role": role, "content": content}


def _joined(parts: list[Any], field: str) -> str:
    texts = []
    for index, part in enumerate(parts):
        kind = part.get("type", "text") if isinstance(part, dict) else None
        text = part.get("text", part.get("value")) if isinstance(part, dict) else None
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            raise RowError((f"{field}.{index}", f"found {part!r:.80}", "text or parts of text"))
        texts.append(text)
    return "".join(texts)


def _calls(item: Fields, field: str) -> list[str]:
    """Calls of functions as lines of JSON: ``{"name": "add", "arguments": {"a": 1}}``."""
    calls = item.get("tool_calls") or []
    functions = [call.get("function") if isinstance(call, dict) else None for call in calls]
    if item.get("function_call"):
        functions.append(item["function_call"])
    lines = []
    for index, call in enumerate(functions):
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            place = f"{field}.tool_calls.{index}"
            raise RowError((place, f"found {call!r:.80}", "a function with name and arguments"))
        given = call.get("arguments")
        given = decoded(f"{field}.tool_calls.{index}", given) if isinstance(given, str) else given
        line = {"name": call["name"], "arguments": given}
        lines.append(json.dumps(line, ensure_ascii=False))
    return lines
