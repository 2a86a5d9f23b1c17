from __future__ import annotations

from itertools import permutations

from burnish.cleaning.paragraphs import (
    ParagraphSettings,
    paragraph_key,
    paragraph_keys,
    paragraphs,
    rank,
    strip_paragraphs,
)

SHARED = "One two three four five."
A = f"{SHARED}\n\nThis one is longer, and it has more to say than the others.\n\nEnd of A."
B = f"Start of B.\n\n{SHARED.upper()}\n\nEnd of B it is now."
C = f"{SHARED}\n\nC."


def cleaned(*texts: str, words: int = 5) -> dict[str, tuple[str, int]]:
    """Each text without the paragraphs that stand in one of a lower rank."""
    settings = ParagraphSettings(words=words)
    keys = {text: paragraph_keys(text, settings) for text in texts}
    found = {}
    for text in texts:
        before = [keys[other] for other in texts if rank(other) < rank(text)]
        found[text] = strip_paragraphs(text, set().union(*before), settings)
    return found


def test_paragraphs_are_parted_by_blank_lines_or_else_by_lines() -> None:
    assert paragraphs("a\nb\n \n\nc") == ["a\nb", "c"]
    assert paragraphs("a\nb\n") == ["a", "b"]


def test_the_longest_document_keeps_a_shared_paragraph_in_any_order() -> None:
    """C-39: the result does not depend on the order of the input."""
    for order in permutations([A, B, C]):
        found = cleaned(*order)
        assert found[A] == (A, 0)
        assert found[B] == ("Start of B.\n\nEnd of B it is now.", 1)
        assert found[C] == ("C.", 1)


def test_documents_of_one_length_are_told_apart_by_content() -> None:
    left, right = f"{SHARED}\n\nleft", f"{SHARED}\n\nwest"
    first, second = cleaned(left, right), cleaned(right, left)
    assert first == second
    assert sorted(count for _, count in first.values()) == [0, 1]


def test_short_paragraphs_and_repetitions_in_one_document_stay() -> None:
    assert cleaned(A, B, C, words=6)[C] == (C, 0)
    twice = f"{SHARED}\n\n{SHARED}"
    assert cleaned(twice, "x")[twice] == (twice, 0)


def test_chinese_characters_are_words() -> None:
    assert paragraph_key("天地玄黄，宇宙洪荒。", 8) == paragraph_key("天地玄黄 宇宙洪荒", 8)
    assert paragraph_key("天地玄黄宇宙洪", 8) is None
