"""One tokenizer with one chat template: lays conversations out and tokenises them in bulk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import product

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from burnish.config import InputError, Problem
from burnish.records import Message
from burnish.text.layout import CLOSE, OPEN, Layout, Place, Stretch, fill, lay_out, mark
from burnish.text.sandbox import TEMPLATE_FAULTS, render, vet

ROLES = ("system", "user", "assistant", "tool")
_LAYOUTS_KEPT = 256
_TRIMS: tuple[Callable[[str], str], ...] = (str.strip, str, str.lstrip, str.rstrip)

Row = list[tuple[list[int], int]]
"""Ids of each stretch and the index of the reply it is (-1: none)."""


class Encoder:
    """Made once per tokenizer and template by ``templates``.

    Args:
        template: Jinja text; vetted in a child process unless ``trusted``.
        leading: ids the tokenizer puts before any text (``[bos]`` or nothing).
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: str,
        leading: list[int],
        trusted: bool,
    ) -> None:
        if not tokenizer.is_fast:
            raise InputError("the model's tokenizer has no tokenizer.json; burnish needs one")
        self.template = template
        self.size = len(tokenizer)
        self._leading = leading
        self._fast = _copy(tokenizer.backend_tokenizer)
        self._eos: int | None = tokenizer.eos_token_id
        named = tokenizer.special_tokens_map
        self._variables = {name: text for name, text in named.items() if isinstance(text, str)}
        reason = None if trusted else vet(template, tuple(sorted(self._variables.items())))
        if reason:
            raise InputError(f"the model's chat template is refused: {reason}")
        added = tokenizer.added_tokens_decoder.items()
        controls = {t.content: i for i, t in added if t.special or t.content in template}
        self._control_ids = controls
        self._id_set = set(controls.values())
        longest_first = sorted(controls, key=len, reverse=True)
        self._controls = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        self._plain = _copy(self._fast, set(controls))
        self._layouts: dict[tuple[tuple[str, ...], bool], Layout] = {}

    def encode(self, conversations: Sequence[Sequence[Message]], generate: bool) -> list[Row]:
        """Ids of every conversation, stretch by stretch; ``generate``: as prompts."""
        plans = [self._lay_out(messages, generate) for messages in conversations]
        texts = [fill(s.parts, contents) for layout, contents in plans for s in layout.stretches]
        encodings = iter(self._fast.encode_batch_fast(texts, add_special_tokens=False))
        rows = []
        for layout, contents in plans:
            row: Row = [(next(encodings).ids, stretch.reply) for stretch in layout.stretches]
            if not self._only_own_controls(layout, row):
                row = [(self._guarded(s, contents), s.reply) for s in layout.stretches]
            rows.append(self._finish(row, layout))
        return rows

    def end_of_reply(self) -> set[int]:
        """The control token the template puts after a reply, if it does."""
        messages: list[Message] = [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"},
        ]
        row = self.encode([messages], generate=False)[0]
        last = row[-1][0][-1]
        return {last} if last in self._id_set else set()

    def _finish(self, row: Row, layout: Layout) -> Row:
        """Exactly one bos in front where the tokenizer wants one; an end after the last reply."""
        if not layout.closed and self._eos is not None:
            row[-1] = ([*row[-1][0], self._eos], row[-1][1])
        if self._leading and row:
            ids, reply = row[0]
            doubled = ids[:2] == self._leading * 2
            row[0] = (ids[1:] if doubled else ids, reply)
            if ids[:1] != self._leading:
                row.insert(0, (self._leading, -1))
        return row

    def _lay_out(
        self, messages: Sequence[Message], generate: bool
    ) -> tuple[Layout, list[str] | None]:
        """The layout, and the contents to fill in (None: the layout holds them)."""
        check(messages)
        wanted = self._render(messages, generate)
        key = (tuple(message["role"] for message in messages), generate)
        if key not in self._layouts:
            if len(self._layouts) >= _LAYOUTS_KEPT:
                self._layouts.clear()
            self._layouts[key] = self._find_layout(messages, ["x"] * len(messages), generate)
        layout = self._layouts[key]
        for variant in _trimmed(messages):
            if self._fits(layout, variant, wanted, generate):
                return layout, variant
        # The template looks at the contents: lay out this very conversation.
        for variant in _trimmed(messages):
            layout = self._find_layout(messages, variant, generate)
            if self._fits(layout, None, wanted, generate):
                return layout, None
        raise InputError("the chat template rewrites message text in a way burnish cannot follow")

    def _find_layout(
        self, messages: Sequence[Message], contents: Sequence[str], generate: bool
    ) -> Layout:
        marked: list[Message] = [
            {**message, "content": mark(index, text)}  # type: ignore[typeddict-item]
            for index, (message, text) in enumerate(zip(messages, contents, strict=True))
        ]
        return lay_out(marked, self._render, self._controls, generate)

    def _fits(
        self, layout: Layout, contents: Sequence[str] | None, wanted: str, generate: bool
    ) -> bool:
        """Whether the filled layout is what the template renders (a prompt may add a header)."""
        text = "".join(fill(s.parts, contents) for s in layout.stretches) + layout.tail
        return text == wanted or (generate and text.startswith(wanted))

    def _render(self, messages: Sequence[Message], generate: bool) -> str:
        try:
            return render(self.template, messages, self._variables, generate)
        except TEMPLATE_FAULTS as fault:
            roles = ", ".join(message["role"] for message in messages) or "none"
            raise InputError(
                Problem("chat template", None, "", f"{fault}", f"roles given: {roles}")
            ) from fault

    def _only_own_controls(self, layout: Layout, row: Row) -> bool:
        """Whether the ids hold as many control tokens as the template itself wrote."""
        found = sum(token in self._id_set for ids, _ in row for token in ids)
        return found == layout.controls

    def _guarded(self, stretch: Stretch, contents: Sequence[str] | None) -> list[int]:
        """Ids of a stretch where control tokens count only in the template's own text."""
        ids: list[int] = []
        run = ""
        for part in stretch.parts:
            if isinstance(part, Place):
                run += part.text if contents is None else contents[part.index]
                continue
            done = 0
            for found in self._controls.finditer(part):
                ids += self._plain_ids(run + part[done : found.start()])
                ids.append(self._control_ids[found[0]])
                run, done = "", found.end()
            run += part[done:]
        return ids + self._plain_ids(run)

    def _plain_ids(self, text: str) -> list[int]:
        return list(self._plain.encode(text, add_special_tokens=False).ids) if text else []


def _copy(tokenizer: Tokenizer, controls: set[str] | None = None) -> Tokenizer:
    """A copy that never pads or truncates; it encodes ``controls`` as the plain text they are."""
    state = json.loads(tokenizer.to_str())
    for token in state.get("added_tokens") or []:
        token["special"] = token["special"] or token["content"] in (controls or ())
    copy = Tokenizer.from_str(json.dumps(state))
    copy.encode_special_tokens = controls is not None
    copy.no_padding()
    copy.no_truncation()
    return copy


def check(messages: Sequence[Message]) -> None:
    """Raise InputError for a conversation that is none, or holds what burnish marks text with."""
    for number, message in enumerate(messages, start=1):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            place = f"messages.{number}.role"
            raise InputError(Problem("", None, place, f"found {role!r}", f"one of {ROLES}"))
        if not isinstance(content, str) or OPEN in content or CLOSE in content:
            place = f"messages.{number}.content"
            raise InputError(Problem("", None, place, f"found {content!r:.80}", "expected text"))
    if not messages:
        raise InputError("a conversation needs at least one message")


def _trimmed(messages: Sequence[Message]) -> Iterator[list[str]]:
    """The contents as they are, then with white space trimmed in the ways templates do it."""
    contents = [message["content"] for message in messages]
    yield contents
    spaced = {m["role"] for m in messages if m["content"] != m["content"].strip()}
    for ways in product(_TRIMS, repeat=len(spaced)):
        trim = dict(zip(sorted(spaced), ways, strict=True))
        yield [trim.get(m["role"], str)(m["content"]) for m in messages]
