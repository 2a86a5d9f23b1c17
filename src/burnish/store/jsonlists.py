"""A long JSON list, or objects one after the other, element by element in bounded memory."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NoReturn

MOST_CHARACTERS = 64 * 2**20
_CHUNK = 2**20
# A number that ends before "." or "e+" goes on where what was read ends there too.
_AHEAD = 3
_SPACE = re.compile(r"[ \t\r\n]*")


class ListError(ValueError):
    """The file is no list of objects, or is broken at ``line``; nothing after it can be read."""

    def __init__(self, line: int, found: str) -> None:
        self.line = line
        self.found = found
        super().__init__(found)


class NotJson(ValueError):
    """A value that has the form of JSON and cannot be taken for it: NaN, half characters."""


def refuse_constant(name: str) -> NoReturn:
    """For ``json``'s ``parse_constant``: NaN and the infinities are no JSON numbers."""
    raise NotJson(f"{name} is not a JSON number")


_STRICT = json.JSONDecoder(parse_constant=refuse_constant)
_LENIENT = json.JSONDecoder()


def elements(file: BinaryIO) -> Iterator[tuple[int, Any]]:
    """The elements of a list at the top, or the objects of JSON lines, each with its line.

    An element that is not strict JSON comes as a ``NotJson``; the ones after it follow.

    Raises:
        ListError: the file holds something else or is not valid JSON from some line on.
    """
    text = _Window(file)
    first = text.peek()
    if first == "[":
        yield from _list(text)
    elif first == "{":
        line, value = text.line, text.value()
        if not text.peek():
            raise ListError(line, "found an object")
        yield line, value
        while text.peek():
            line = text.line
            yield line, text.value()
    elif not first:
        raise ListError(1, "not valid JSON: nothing in it")
    else:
        text.value()
        raise ListError(text.line, "found a string" if first == '"' else "found a single value")


def _list(text: _Window) -> Iterator[tuple[int, Any]]:
    text.take()
    mark = text.peek()
    while mark != "]":
        line = text.line
        yield line, text.value()
        mark = text.peek()
        if mark == ",":
            text.take()
            if text.peek() == "]":
                raise ListError(text.line, "not valid JSON: a comma after the last element")
        elif mark != "]":
            raise ListError(text.line, "not valid JSON: the list does not end")
    text.take()
    if text.peek():
        raise ListError(text.line, "not valid JSON: more text after the list's end")


class _Window:
    """What has been read of the text and is not used yet. Bytes that are not UTF-8 are kept."""

    def __init__(self, file: BinaryIO) -> None:
        self.line = 1
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._text = ""
        self._at = 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is not white space; empty at the end."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._move(found.end() if found else self._at)
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def take(self) -> None:
        """Go past the character that ``peek`` gave."""
        self._move(self._at + 1)

    def value(self) -> Any:
        """The JSON value that begins here.

        A value that goes beyond what was read is tried again with twice as much.
        """
        while True:
            try:
                value, end = self._decoded()
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > MOST_CHARACTERS:
                    line = self.line + self._text.count("\n", self._at, error.pos)
                    raise ListError(line, f"not valid JSON: {error.msg}") from None
            except RecursionError:
                raise ListError(self.line, "not valid JSON: nested too deeply") from None
            else:
                if end + _AHEAD <= len(self._text) or self._ended:
                    self._move(end)
                    return value
            self._more()

    def _decoded(self) -> tuple[Any, int]:
        try:
            value, end = _STRICT.raw_decode(self._text, self._at)
        except NotJson as error:
            return error, _LENIENT.raw_decode(self._text, self._at)[1]
        return self._checked(value, end), end

    def _checked(self, value: Any, end: int) -> Any:
        raw = self._text[self._at : end]
        if not is_text(raw):
            return NotJson("not UTF-8")
        return value if whole(value, raw) else NotJson("half of a surrogate pair in a string")

    def _move(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> None:
        rest = self._text[self._at :]
        data = self._file.read(max(_CHUNK, len(rest)))
        self._ended = not data
        self._text, self._at = rest + self._decode(data, final=self._ended), 0


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: no half surrogate pairs, no bytes kept undecoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def whole(value: Any, raw: str) -> bool:
    r"""Whether no string of ``value``, decoded from ``raw``, holds half a pair from ``\ud800``."""
    if "\\ud" not in raw and "\\uD" not in raw:
        return True
    return is_text(json.dumps(value, ensure_ascii=False))
