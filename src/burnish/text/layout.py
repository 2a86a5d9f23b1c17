"""Where a chat template puts the messages, and which part of the text each reply is.

The template is rendered once per sequence of roles with marked stand-ins for the messages. What
comes back is a ``Layout``: the template's own text, the places of the messages in it, and cuts
before and after each reply. Real conversations are then laid out by substitution.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burnish.config import InputError
from burnish.records import Message

OPEN, CLOSE = "\ue0f0", "\ue0f1"
"""Private-use characters that mark a message in a rendering; no text may hold them."""

_MARKED = re.compile(f"{OPEN}(\\d+)\ue0f2(.*?){CLOSE}\\1\ue0f2", re.DOTALL)
_HALF = re.compile(f"{OPEN}(\\d+)\ue0f2|{CLOSE}(\\d+)\ue0f2")

Render = Callable[[Sequence[Message], bool], str]


@dataclass(frozen=True)
class Place:
    """Where the content of message ``index`` goes; ``text`` is what the template left of it."""

    index: int
    text: str


Part = str | Place


@dataclass(frozen=True)
class Stretch:
    """Text that is tokenised in one go. ``reply`` is the trained message's index, -1 for none."""

    parts: tuple[Part, ...]
    reply: int = -1


@dataclass(frozen=True)
class Layout:
    """Stretches in order, and the template's text after the last reply's end (``tail``).

    ``closed`` tells that the last reply ends with an end token of the template's, ``controls``
    how many control tokens the template itself writes.
    """

    stretches: tuple[Stretch, ...]
    tail: str
    closed: bool
    controls: int


def mark(index: int, text: str) -> str:
    """``text`` between the marks of message ``index``.

    Thoughts stay outside: templates of reasoning models drop them from earlier turns.
    """
    thoughts, ended, answer = text.rpartition("</think>")
    if ended:
        lead = len(answer) - len(answer.lstrip("\n"))
        return thoughts + ended + answer[:lead] + mark(index, answer[lead:])
    return f"{OPEN}{index}\ue0f2{text}{CLOSE}{index}\ue0f2"


def lay_out(
    messages: Sequence[Message], render: Render, controls: re.Pattern[str], generate: bool
) -> Layout:
    """Find the layout of a conversation whose contents are marked (see ``mark``).

    Args:
        messages: with marked contents; ``render`` renders them, with generation prompt or not.
        controls: matches the tokenizer's control tokens.
        generate: lay out a prompt, up to where a reply begins, rather than whole messages.

    Raises:
        InputError: the template leaves out a reply.
    """
    text = _prompt(messages, render) if generate else render(messages, False)
    spans = [
        _reply_span(index, text, messages, render, controls)
        for index, message in enumerate(messages)
        if message["role"] == "assistant"
    ]
    stretches: list[Stretch] = []
    done = 0
    for index, start, end, _ in spans:
        if start > done:
            stretches.append(Stretch(_parts(text[done:start])))
        stretches.append(Stretch(_parts(text[start:end]), index))
        done = end
    ends_in_reply = bool(spans) and spans[-1][0] == len(messages) - 1 and not generate
    if not ends_in_reply and done < len(text):
        stretches.append(Stretch(_parts(text[done:])))
        done = len(text)
    closed = not ends_in_reply or spans[-1][3]
    own = [part for s in stretches for part in s.parts if isinstance(part, str)]
    count = sum(len(controls.findall(part)) for part in own)
    return Layout(tuple(stretches), text[done:], closed, count)


def _prompt(messages: Sequence[Message], render: Render) -> str:
    """The text up to where a reply begins.

    Where the template has no generation prompt but does put a header before a reply, the header
    belongs to the prompt; white space does not, since a model writes that with its first word.
    """
    prompt = render(messages, True)
    if prompt != render(messages, False):
        return prompt
    reply: Message = {"role": "assistant", "content": mark(len(messages), "x")}
    head = render([*messages, reply], False).partition(mark(len(messages), "x"))[0]
    header = head[len(prompt) :] if head.startswith(prompt) else ""
    return prompt + header.rstrip(" ") if header.strip() else prompt


def _reply_span(
    index: int,
    text: str,
    messages: Sequence[Message],
    render: Render,
    controls: re.Pattern[str],
) -> tuple[int, int, int, bool]:
    """Message index, start and end of the reply in ``text``, and whether it has an end token."""
    close = f"{CLOSE}{index}\ue0f2"
    after = text.find(close)
    if after < 0:
        raise InputError(f"the chat template leaves out message {index + 1}, a reply")
    before = text.find(f"{OPEN}{index}\ue0f2")
    start = before if 0 <= before < after else after
    prompt = _prompt(messages[:index], render) if index else ""
    if prompt and text.startswith(prompt) and len(prompt) <= start:
        start = len(prompt)
    after += len(close)
    alone = render(messages[: index + 1], False).partition(close)[2]
    end = controls.search(alone)
    if end is not None and text.startswith(alone[: end.end()], after):
        return index, start, after + end.end(), True
    return index, start, after, False


def _parts(text: str) -> tuple[Part, ...]:
    """Split marked text into the template's own text and the messages' places."""
    parts: list[Part] = []
    done = 0
    for found in _MARKED.finditer(text):
        parts += [text[done : found.start()], Place(int(found[1]), found[2])]
        done = found.end()
    parts.append(text[done:])
    lost = next((m for part in parts if isinstance(part, str) and (m := _HALF.search(part))), None)
    if lost:
        number = int(lost[1] or lost[2]) + 1
        raise InputError(f"the chat template cuts message {number} apart; burnish cannot follow it")
    return tuple(part for part in parts if part != "")


def fill(parts: Sequence[Part], contents: Sequence[str] | None) -> str:
    """The text of ``parts`` with these messages in their places (None: what the layout saw)."""
    return "".join(
        part if isinstance(part, str) else part.text if contents is None else contents[part.index]
        for part in parts
    )
