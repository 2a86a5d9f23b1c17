"""The planted flaw, and charts that stand alone."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from benchmarks.policies import common
from benchmarks.policies.hacking import PAIRS, flawed

from burnish.records import Preference
from burnish.reporting.charts import Line, line_chart


def test_every_second_pair_pays_for_length() -> None:
    pairs = [
        Preference(
            id=f"p{n}",
            prompt=[{"role": "user", "content": "?"}],
            chosen=[{"role": "assistant", "content": "yes"}],
            rejected=[{"role": "assistant", "content": "no way"}],
        )
        for n in range(PAIRS + 5)
    ]
    found = flawed(pairs)
    assert len(found) == PAIRS
    assert found[0] == pairs[0]
    assert found[1].chosen[-1]["content"] == "no way no way no way"
    assert found[1].rejected == pairs[1].chosen
    assert [one.id for one in found] == [one.id for one in pairs[:PAIRS]]


def test_a_chart_is_a_picture_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "IMAGES", tmp_path)
    lines = [Line("reward <b>", [(0.0, 0.0), (1.0, 2.0)], "c2"), Line("judge", [(0.0, 1.0)], "c1")]
    said = common.save_chart("gain", line_chart(lines, label="gain"))
    assert said.startswith("![gain](../docs/images/gain.svg)")
    assert "orange: reward &lt;b&gt;; green: judge" in said
    root = ET.fromstring((tmp_path / "gain.svg").read_text())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(root.findall(".//{http://www.w3.org/2000/svg}circle")) == 3
