"""One thing asked of a writer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.records import Example, Language, Message, Prompt
from burnish.selection.writing.forms import fill
from burnish.selection.writing.replies import check_instruction


@dataclass(frozen=True)
class Ask:
    """A form with its data, the keys of the JSON object wanted, and what it is about.

    ``lang`` is the language of what is to be written; ``asked_in`` that of the form where it is
    another one. ``distinct``: what comes is left out where it is nearly an instruction there is;
    a variation is near its parent by nature, so that only equal ones are left out.
    """

    form: str
    lang: Language
    data: Mapping[str, Sequence[str]]
    keys: tuple[str, ...]
    origin: Any
    asked_in: Language | None = None
    distinct: bool = True

    def messages(self) -> list[Message]:
        """The conversation that asks."""
        return fill(self.form, self.asked_in or self.lang, self.data, self.keys)

    def instruction(self, found: Mapping[str, str]) -> str:
        """The text under ``instruction`` where it is one; raises ``Refused`` if not."""
        text = found["instruction"]
        check_instruction(text, self.lang, self.data)
        return text


def question(record: Prompt | Example) -> str:
    """The last thing that the user says."""
    return next(m["content"] for m in reversed(record.messages) if m["role"] == "user")
