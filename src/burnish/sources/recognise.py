"""Which layout a row is in, and the kind of record it therefore holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from burnish.records import Document, Example, Feedback, Preference, Prompt, Record, Rollout
from burnish.store.layouts import role_of, turns_column

KNOWN = (
    "text; messages; conversations; instruction + output; prompt (+ completion); "
    "a reply with label; chosen + rejected"
)
_NAMES = {"messages": "messages", "conversations": "ShareGPT", "conversation": "ShareGPT"}
_READ: dict[type[Record], frozenset[str]] = {
    kind: frozenset({*(field.name for field in fields(kind)), *columns})
    for kind, columns in {
        Document: (),
        Example: ("conversations", "conversation", "system", "instruction", "input", "output",
                  "history", "prompt", "completion"),
        Prompt: ("conversations", "conversation", "system", "instruction", "input", "history",
                 "prompt"),
        Preference: ("messages", "conversations", "conversation", "question", "system",
                     "instruction", "input", "history", "preferred_output",
                     "non_preferred_output", "score_chosen", "score_rejected"),
        Feedback: ("messages", "conversations", "conversation", "system", "instruction", "input",
                   "output", "history"),
        Rollout: (),
    }.items()
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """A known set of columns by name, and the kind of record that it holds."""

    name: str
    kind: type[Record]


def recognise(row: Mapping[str, Any]) -> Layout | None:
    """The layout of a row, by its columns that are not null; None where it is in none.

    Conversations are examples where the assistant speaks last, prompts where the user does.
    """
    columns = {name: value for name, value in row.items() if value is not None}
    has = columns.keys()
    if has >= {"preferred_output", "non_preferred_output"}:
        return Layout("OpenAI preference", Preference)
    if has >= {"chosen", "rejected"}:
        return Layout(f"{_pair_form(columns)} preference", Preference)
    if has >= {"prompt_id", "tokens", "logprobs", "completion"}:
        return Layout("rollout", Rollout)
    if _liked(columns):
        return Layout("KTO", Feedback)
    if turns := turns_column(columns):
        conversation = columns[turns]
        asks = isinstance(conversation, list) and conversation and role_of(conversation[-1])
        return Layout(_NAMES[turns], Prompt if asks == "user" else Example)
    if "instruction" in has:
        return Layout("Alpaca", Example if columns.get("output") else Prompt)
    if "prompt" in has:
        replied = "completion" in has
        return Layout(
            "prompt + completion" if replied else "prompt", Example if replied else Prompt
        )
    return Layout("text", Document) if "text" in has else None


def _pair_form(columns: Mapping[str, Any]) -> str:
    if "instruction" in columns:
        return "Alpaca"
    turns = turns_column(dict(columns))
    return _NAMES[turns] if turns else "TRL"


def _liked(columns: Mapping[str, Any]) -> bool:
    """A verdict on one reply: true or false, also as CSV and tables of numbers write it."""
    label = columns.get("label")
    verdict = isinstance(label, bool) or label in (0, 1) or str(label).lower() in ("true", "false")
    reply = columns.keys() & {"messages", "conversations", "conversation", "completion", "output"}
    return verdict and bool(reply)


def left_out(row: Mapping[str, Any], kind: type[Record]) -> list[str]:
    """The columns that a record of ``kind`` is not made from."""
    given = (name for name, value in row.items() if value not in (None, ""))
    return [name for name in given if name not in _READ[kind]]
