from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from burnish.config import InputError
from burnish.store.artifacts import ArtifactStore
from burnish.store.names import check_name, parse_ref

ATTACKS = [
    "", ".", "..", "../x", "..%2fx", "%2e%2e%2fx", "..\\x", "/etc/passwd", "C:\\x", "a/b", "a\\b",
    "a\0b", "a\n", "\na", "a b", "a.b", "~", "~root", "con", "nul", "com1", "aux", "A", "é", "ａ",
    "a@1", "-a", "_a", "a-", "a--b", "1a", "a" * 65, "a\u202eb", "file:///x", "$(x)", "a;b", "٣",
]  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused(name: str) -> None:  # S-07
    with pytest.raises(InputError, match="small letters"):
        check_name(name)


@pytest.mark.parametrize("name", ["a", "sft", "round2-sft", "burnish_tiny", "a1", "a" * 64])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@given(st.text(max_size=80))
@example("a\n")
@example("sft")
def test_no_name_leaves_its_root(name: str) -> None:  # S-07
    root = Path("/root-folder")
    try:
        check_name(name)
    except InputError:
        return
    assert Path(os.path.normpath(root / name)).parent == root
    assert name.isascii()
    assert name == name.lower()


@pytest.mark.parametrize("name", ATTACKS)
def test_store_touches_nothing_for_a_bad_name(tmp_path: Path, name: str) -> None:  # S-07
    store = ArtifactStore(tmp_path / "run")
    with pytest.raises(InputError):
        store.get(name)
    assert list(tmp_path.rglob("*")) == []


def test_refs() -> None:
    assert parse_ref("sft@12") == ("sft", 12)
    assert parse_ref("sft") == ("sft", None)
    for bad in ("sft@", "sft@0", "sft@-1", "sft@01", "sft@1.0", "sft@@1", "sft@1@2", "@1", "sft@٣"):
        with pytest.raises(InputError):
            parse_ref(bad)
