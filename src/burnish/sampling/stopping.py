"""Where a reply ends: at an end token, or where its text contains a stop string."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

GARBLED = "\ufffd"
"""What a decoder writes for bytes that are no character, such as half a Chinese one."""


def find_stop(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop string in ``text`` begins; None where there is none."""
    return min((place for one in stop if (place := text.find(one)) >= 0), default=None)


class Endings:
    """Says when a reply that grows token by token has ended.

    Args:
        tokenizer: turns ids into text.
        ends: tokens that end a reply.
        stop: strings that end it, wherever the tokens that make them up begin and end.
    """

    def __init__(self, tokenizer: Any, ends: frozenset[int], stop: Sequence[str]) -> None:
        self.tokenizer, self.ends, self.stop = tokenizer, ends, tuple(stop)
        added = tokenizer.added_tokens_decoder.items()
        self._silent = frozenset(token for token, what in added if what.special)
        self._size = len(tokenizer)
        # Every token with text has at least a byte of it. One more token, because a decoder may
        # strip the space before its first.
        self._window = max((len(one.encode()) for one in stop), default=0) + 1

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether the last of ``tokens`` ends the reply; those before it did not."""
        return tokens[-1] in self.ends or (bool(self.stop) and self._stops(tokens))

    def text(self, tokens: Sequence[int]) -> str:
        """The whole text of ``tokens``, without control tokens and stop strings not cut off."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def _stops(self, tokens: Sequence[int]) -> bool:
        """Looks at the last few tokens only; the whole text has the last word."""
        if not self._speaks(tokens[-1]):
            return False
        tail = list(islice(filter(self._speaks, reversed(tokens)), self._window))[::-1]
        text = self.text(tail)
        # Cut inside a character, some decoders garble the characters after it too.
        if not text.startswith(GARBLED) and find_stop(text, self.stop) is None:
            return False
        return find_stop(self.text(tokens), self.stop) is not None

    def _speaks(self, token: int) -> bool:
        """Whether a token has text: no control token, and not one of a padded vocabulary."""
        return token < self._size and token not in self._silent


class Increments:
    """The text of a reply as its tokens come.

    What it gives out stays: it keeps back bytes that are no whole character yet, and whatever a
    stop string may begin with. All of it together is the reply's text.
    """

    def __init__(self, endings: Endings) -> None:
        self._endings = endings
        self._tokens: list[int] = []
        self._begin = self._read = 0  # the last tokens whose text is whole, and the end of them
        self._held = ""
        self._given = 0

    def push(self, token: int) -> str:
        """The text that is certain with ``token``, which does not end the reply."""
        self._tokens.append(token)
        # A decoder may treat a text's first token in its own way: so a few known ones come along.
        before = self._endings.text(self._tokens[self._begin : self._read])
        text = self._endings.text(self._tokens[self._begin :])
        if text.endswith(GARBLED):
            return ""
        self._begin, self._read = self._read, len(self._tokens)
        self._held += text[len(before) :]
        return self._give(len(self._held) - _maybe_stop(self._held, self._endings.stop))

    def finish(self, text: str) -> str:
        """What is missing of the whole ``text``, when the reply has ended."""
        return text[self._given :]

    def _give(self, count: int) -> str:
        given, self._held = self._held[:count], self._held[count:]
        self._given += len(given)
        return given


def _maybe_stop(text: str, stop: Sequence[str]) -> int:
    """How many of the last characters of ``text`` a stop string begins with, at most."""
    longest = max((len(one) for one in stop), default=1) - 1
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(one.startswith(text[-size:]) for one in stop)), 0)
