"""Ollama's Modelfile for a GGUF file, with the chat template in Ollama's own language.

Ollama does not run the Jinja template inside a GGUF file. What a template puts around messages
is found by rendering short conversations; the pieces are used only if they make up longer ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from burnish.records import Message

Render = Callable[[Sequence[Message], bool], str]
"""Text of a conversation, with the beginning of the next reply or without."""

_A, _B = "\u2460first\u2460", "\u2461second\u2461"


@dataclass(frozen=True)
class Pieces:
    """``bare`` begins a conversation without a system message, ``begin`` one with it; ``around``
    is what stands before and after a message of each role; ``reply`` begins the next reply."""

    bare: str
    begin: str
    around: dict[str, tuple[str, str]]
    reply: str

    def compose(self, messages: Sequence[Message]) -> str:
        """The conversation as these pieces have it, up to the next reply."""
        systems = any(message["role"] == "system" for message in messages)
        turns = [
            self.around[m["role"]][0] + m["content"] + self.around[m["role"]][1] for m in messages
        ]
        return (self.begin if systems else self.bare) + "".join(turns) + self.reply


def pieces_of(render: Render) -> Pieces | None:
    """The pieces of a chat template; None where it is more than pieces around messages."""
    user: Message = {"role": "user", "content": _A}
    reply: Message = {"role": "assistant", "content": _B}
    again: Message = {"role": "user", "content": _B}
    system: Message = {"role": "system", "content": _B}
    one = render([user], False)
    two = render([user, reply], False)
    three = render([user, reply, again], False)
    ruled = render([system, user], False)
    if not (two.startswith(one) and three.startswith(two)):
        return None
    after_user = three[len(two) :]
    if not (one.endswith(tail := after_user.replace(_B, _A)) and ruled.endswith(tail)):
        return None
    bare, told = one[: -len(tail)], ruled[: -len(tail)]
    if _B not in told:
        return None
    before, end = _around(told, _B)
    # Where a conversation begins the same way with and without, that is no part of the message.
    shared = bare if before.startswith(bare) else ""
    pieces = Pieces(
        bare, shared,
        {"system": (before[len(shared) :], end), "user": _around(after_user, _B),
         "assistant": _around(two[len(one) :], _B)},
        render([user], True)[len(one) :],
    )  # fmt: skip
    trials: tuple[list[Message], ...] = (
        [user],
        [system, user],
        [user, reply, again],
        [system, user, reply, again],
    )
    fine = all(pieces.compose(trial) == render(trial, True) for trial in trials)
    return pieces if fine else None


def _around(text: str, content: str) -> tuple[str, str]:
    before, _, after = text.partition(content)
    return before, after


def modelfile(file: str, pieces: Pieces | None, ends: Sequence[str], context: int) -> str:
    """The text of a Modelfile for ``file`` beside it."""
    lines = [f"FROM ./{file}", f"PARAMETER num_ctx {context}"]
    lines += [f'PARAMETER stop "{end}"' for end in ends]
    if pieces is None:
        lines.append("# The chat template is more than text around messages: Ollama falls back on")
        lines.append("# what it knows of the one inside the file. llama.cpp runs it as it is.")
    else:
        turns = "".join(
            f'{{{{ if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}{{{{ end }}}}'
            for role, (before, after) in pieces.around.items()
        )
        begin = f"{{{{ if .System }}}}{pieces.begin}{{{{ else }}}}{pieces.bare}{{{{ end }}}}"
        body = f"{begin}{{{{ range .Messages }}}}{turns}{{{{ end }}}}{pieces.reply}"
        lines.append(f'TEMPLATE """{body}"""')
    return "\n".join(lines) + "\n"
