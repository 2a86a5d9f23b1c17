"""The reserved rule: stable, insensitive to form, about a quarter of all records."""

from __future__ import annotations

import hashlib

from burnish.records.reserved import is_reserved, key_text


def test_key_text_folds_case_width_and_space() -> None:
    assert key_text("  What\tIs \n IT\u3000?  ") == "what is it ?"
    assert key_text("ＡＢＣ") == "abc"


def test_forms_of_one_text_share_one_fate() -> None:
    assert len({is_reserved(form) for form in ("Andorra", " andorra ", "ＡＮＤＯＲＲＡ")}) == 1


def test_rule_is_the_first_hexadecimal_digit() -> None:
    for text in ("paris", "静夜思", "helium", "how do i bake bread?"):
        first = hashlib.sha256(text.encode("utf-8")).hexdigest()[0]
        assert is_reserved(text) == (first in "cdef")


def test_about_a_quarter_is_reserved() -> None:
    share = sum(is_reserved(f"record number {i}") for i in range(4000)) / 4000
    assert 0.22 < share < 0.28
