"""The mutation check itself: its patches still apply, and it reads pytest's answers rightly."""

from __future__ import annotations

import pytest
from tools.mutations import MUTATIONS, PACKAGE, ROOT, Mutation, applied, fate


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_patch_still_applies(mutation: Mutation) -> None:  # C-45
    text = (PACKAGE / mutation.file).read_text(encoding="utf-8")
    compile(applied(mutation, text), mutation.file, "exec")
    assert mutation.tests
    assert all((ROOT / "tests" / test).is_file() for test in mutation.tests)


def test_there_are_enough_and_each_has_its_own_name() -> None:  # C-45
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 15


@pytest.mark.parametrize("text", ["a - b", "a + b; a + b"])
def test_a_patch_that_no_longer_applies_is_named(text: str) -> None:
    mutation = Mutation("sum", "x.py", "a + b", "a * b", ("test_x.py",))
    assert applied(mutation, "y = a + b") == "y = a * b"
    with pytest.raises(ValueError, match=r"sum: \d places in x\.py"):
        applied(mutation, text)


def test_only_a_failed_test_counts_as_caught() -> None:
    summary = "1 passed\nFAILED tests/x.py::test_sum[a] - assert 1 == 2\n1 failed"
    assert fate(1, summary) == ("caught", "tests/x.py::test_sum[a]")
    assert fate(0, "2 passed") == ("SURVIVED", "")
    assert fate(2, "ERROR tests/x.py - SyntaxError\n1 error") == ("BROKEN", "1 error")
    assert fate(4, "") == ("BROKEN", "exit code 4")
