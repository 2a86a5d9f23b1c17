"""The replay sweep's data, chart and page, without the fits."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from benchmarks.sections import put

from benchmarks import replay
from burnish.records import Document
from burnish.store import tables

ROWS = [
    replay.Row("none", False, 0.5, 3.0, 3.2, "30.0 [25.0, 35.0]", ""),
    replay.Row("25 %", False, 0.6, 1.5, 1.6, "40.0 [35.0, 45.0]", ""),
    replay.Row("25 %", True, 0.7, 1.1, 1.3, "41.0 [36.0, 46.0]", "raise replay at step 6"),
]


def test_a_continuation_has_one_right_option_at_a_changing_place() -> None:
    lines = [f"word{n} the quick brown fox jumps over dog{n} and cat{n}" for n in range(30)]
    zh = [f"第{n}句话讲的是一只狐狸跳过了第{n}只懒狗的故事" for n in range(30)]
    documents = [Document(id="a", text="\n".join(lines)), Document(id="b", text="\n".join(zh))]
    items = replay.continuations(documents)
    assert len(items) == 60
    golds = set()
    for item in items:
        spec = item.verify or {}
        whole = {item.messages[0]["content"] + gap + spec["choices"][spec["gold"]]
                 for gap in (" ", "")}  # fmt: skip
        assert whole & {*lines, *zh}
        assert len(set(spec["choices"])) == 4
        golds.add(spec["gold"])
    assert golds == {0, 1, 2, 3}
    assert replay.continuations(documents) == items


def test_guard_and_final_figures_share_no_document(tmp_path: Path) -> None:
    replay.write(tmp_path, "burnish-tiny")
    parts = [{one.id for one in tables.read(tmp_path / f"{part}.jsonl", Document)}
             for part in replay.PARTS]  # fmt: skip
    assert all(len(part) > 30 for part in parts)
    assert not parts[0] & parts[1]


def test_technical_documentation_is_there() -> None:
    found = list(replay.documentation())
    assert len(found) > 200
    assert len({one.text for one in found}) == len(found)


def test_the_chart_is_an_image_with_every_fit(tmp_path: Path) -> None:
    replay.chart(ROWS, 1.2, tmp_path / "x.svg")
    root = ElementTree.fromstring((tmp_path / "x.svg").read_text(encoding="utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"none", "25 %", "25 % guarded", "bound"} <= set(texts)
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 3


def test_a_page_keeps_the_sections_of_other_models(tmp_path: Path) -> None:
    def page(model: str, rows: list[replay.Row], before: str) -> str:
        section = replay.section(model, rows, before, 0)
        return put(tmp_path / "page.md", replay.INTRODUCTION, model, section)

    first = page("burnish-tiny", ROWS, "35.0")
    both = page("smollm2", ROWS[:1], "50.0")
    again = page("burnish-tiny", ROWS[1:], "36.0")
    assert again == (tmp_path / "page.md").read_text(encoding="utf-8")
    assert both.index("## burnish-tiny") < both.index("## smollm2")
    assert "| 25 % | on | 0.700 | 1.100 | 41.0 [36.0, 46.0] | raise replay at step 6 |" in first
    assert "| before | | 1 | 1 | 36.0 | |" in again
    assert "| before | | 1 | 1 | 50.0 | |" in again
    assert again.count("## ") == 2
    with pytest.raises(KeyError):
        replay.section("unknown", ROWS, "", 0)
