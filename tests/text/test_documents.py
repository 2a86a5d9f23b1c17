from __future__ import annotations

import pytest
from tests import tiny

from burnish.records import Document
from burnish.text.documents import document_marks, document_segments


def test_documents_by_hand() -> None:
    tokenizer = tiny.tokenizer()
    documents = [Document(id="a", text="abcdef"), Document(id="b", text="x<|end|>")]
    segments = list(document_segments(tokenizer, documents, length=4))
    shown = [(s.id, tokenizer.convert_ids_to_tokens(list(s.tokens))) for s in segments]
    assert shown == [
        ("a", ["<|bos|>", "a", "b", "c"]),
        ("a#1", ["c", "d", "e", "f"]),
        ("a#2", ["f", "<|end|>"]),
        ("b", ["<|bos|>", "x", "<", "|"]),  # S-06: a control token in a text is plain text
        ("b#1", ["|", "e", "n", "d"]),
        ("b#2", ["d", "|", ">", "<|end|>"]),
    ]
    # Every token but a document's first is a target exactly once.
    assert sum(sum(s.mask) for s in segments) == 7 + 9
    assert not any(s.mask[0] for s in segments)


def test_the_document_end_is_not_the_turn_end() -> None:
    tokenizer = tiny.tokenizer(extra=["<|endoftext|>"])
    start, end = document_marks(tokenizer)
    assert start == [tokenizer.bos_token_id]
    assert end == [tokenizer.convert_tokens_to_ids("<|endoftext|>")]
    assert document_marks(tiny.tokenizer(None)) == ([], [2])


def test_documents_are_read_as_needed() -> None:
    def stream():
        for number in range(10_000):
            assert number < 1000, "read far ahead"
            yield Document(id=str(number), text="abc")

    segments = document_segments(tiny.tokenizer(), stream(), length=8)
    assert [next(segments).id for _ in range(300)][-1] == "299"


def test_a_length_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="length 1"):
        next(document_segments(tiny.tokenizer(), [Document(id="a", text="a")], 1))
