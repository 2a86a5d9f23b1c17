"""What is decided between the passes of cleaning, over all parts."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from burnish import flow
from burnish.cleaning.boilerplate import BoilerplateSettings, line_key, line_keys
from burnish.flow import arrays as module
from burnish.records import Document
from burnish.selection.corpus_parts import line_arrays, shared_lines


@dataclass(frozen=True)
class Pages:
    """Documents of (source, text), two a part."""

    pages: Sequence[tuple[str, str]]
    fingerprint: str = "pages"

    def __len__(self) -> int:
        return -(-len(self.pages) // 2)

    def read(self, index: int) -> Sequence[Document]:
        some = self.pages[2 * index : 2 * index + 2]
        return [Document(id=text, text=text, source=source) for source, text in some]


def counted(part: flow.Part) -> Mapping[str, Any]:
    lines: dict[str, Counter[int]] = defaultdict(Counter)
    for one in part.records:
        lines[one.source].update(line_keys(one.text))  # type: ignore[attr-defined]
    return line_arrays(lines, Counter(one.source for one in part.records))


def shared(*pages: tuple[str, str], **limits: float) -> dict[str, frozenset[int]]:
    with tempfile.TemporaryDirectory() as folder:
        arrays = flow.Arrays(Pages(pages), counted, Path(folder))
        flow.execute(arrays, len(arrays.source))
        return shared_lines(arrays, BoilerplateSettings.model_validate(limits))


def test_lines_are_shared_within_a_source_by_number_and_share() -> None:
    pages = [("a", f"Our shop\n------\nText number {i}") for i in range(4)]
    found = shared(*pages, ("b", "Our shop\nother"), documents=4, share=0.5)
    assert found["a"] == {line_key("our  SHOP")}
    assert found["b"] == frozenset()
    assert shared(*pages, documents=5, share=0.5)["a"] == frozenset()
    few = [*pages, *[("a", f"Something else {i}") for i in range(5)]]
    assert shared(*few, documents=4, share=0.5)["a"] == frozenset()  # 4 of 9


def test_ranges_bring_equal_keys_together_and_leave_none_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [("a", f"line {n % 7}\nline {n}") for n in range(20)]
    arrays = flow.Arrays(Pages(pages), counted, tmp_path)
    flow.execute(arrays, len(arrays.source))
    for at_once, least in ((10**6, 1), (5, 5)):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        found = list(arrays.ranges("keys", "counts"))
        assert len(found) >= least
        assert all(len(parts) == len(keys) == len(counts) for parts, (keys, counts) in found)
        sets = [set(keys.tolist()) for _, (keys, _) in found]
        assert sum(map(len, sets)) == len(set().union(*sets)) == 20
        assert sum(int(counts.sum()) for _, (_, counts) in found) == 33  # 7 pages say a line twice
    for part in range(10):
        keys = arrays.load(part, "keys").tolist()
        assert keys == sorted(keys)
