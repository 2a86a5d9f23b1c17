"""Long JSON lists, read in pieces."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from burnish.store import jsonlists
from burnish.store.jsonlists import ListError, NotJson, elements

VALUES: list[Any] = [
    {"text": "a \"quoted\" ] , {brace"}, {"text": "好\n𠀀"}, 12345, 1.5e-3, True, None, "s", [], {},
    [[1, [2]], {"k": [3]}], {"long": "x" * 300},
]  # fmt: skip


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 10_000])
def test_pieces_of_any_size(monkeypatch: pytest.MonkeyPatch, chunk: int, indent: Any) -> None:
    """Also where a piece ends inside a number, a character or an escape."""
    monkeypatch.setattr(jsonlists, "_CHUNK", chunk)
    for ascii_only in (True, False):
        data = json.dumps(VALUES, indent=indent, ensure_ascii=ascii_only).encode()
        assert [value for _, value in elements(io.BytesIO(data))] == VALUES


def test_lines_are_counted() -> None:
    data = b'\xef\xbb\xbf[\n {"a": 1},\n\n {"b":\n 2}, {"c": 3}\n]\n'
    assert list(elements(io.BytesIO(data))) == [(2, {"a": 1}), (4, {"b": 2}), (5, {"c": 3})]


def test_objects_one_after_the_other() -> None:
    data = b'{"a": 1}\n{"b":\n 2}\n\n{"c": 3}'
    assert list(elements(io.BytesIO(data))) == [(1, {"a": 1}), (2, {"b": 2}), (5, {"c": 3})]


def test_an_element_that_is_not_strict_costs_only_itself() -> None:
    data = b'[{"a": NaN}, {"b": "\\ud800"}, {"c": "\xff"}, {"d": "\\ud840\\udc00"}]'
    found = [value for _, value in elements(io.BytesIO(data))]
    assert [str(value) for value in found[:3]] == [
        "NaN is not a JSON number", "half of a surrogate pair in a string", "not UTF-8"
    ]  # fmt: skip
    assert all(isinstance(value, NotJson) for value in found[:3])
    assert found[3] == {"d": "𠀀"}


@pytest.mark.parametrize(
    ("data", "before", "line", "found"),
    [
        (b"", 0, 1, "nothing in it"),
        (b'{"a": 1}', 0, 1, "found an object"),
        (b'"text"', 0, 1, "found a string"),
        (b"17", 0, 1, "found a single value"),
        (b'[{"a": 1},\n {"b"', 1, 2, "not valid JSON: Expecting"),
        (b'[{"a": 1}\n {"b": 2}]', 1, 2, "the list does not end"),
        (b'[{"a": 1},\n]', 1, 2, "a comma after the last"),
        (b'[{"a": 1}', 1, 1, "the list does not end"),
        (b'[{"a": 1}]\n[', 1, 2, "more text after"),
        (b'[{"a": 1}, ' + b"[" * 100_000, 1, 1, "nested too deeply"),
    ],
)
def test_lists_that_are_broken(data: bytes, before: int, line: int, found: str) -> None:
    """What comes before the place is given; the place is named."""
    reading = elements(io.BytesIO(data))
    for _ in range(before):
        next(reading)
    with pytest.raises(ListError, match=found) as info:
        next(reading)
    assert info.value.line == line


def test_an_element_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that memory stays bounded: at most four times the longest element is ever read."""
    monkeypatch.setattr(jsonlists, "MOST_CHARACTERS", 2**16)
    monkeypatch.setattr(jsonlists, "_CHUNK", 2**10)
    file = io.BytesIO(b'[{"a": "' + b"x" * 2**20)
    with pytest.raises(ListError):
        list(elements(file))
    assert file.tell() <= 2**18
