"""curate.select and curate.mix: what they write and report."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stages.fits import context

from burnish.records import Example
from burnish.selection.choose import SelectSettings
from burnish.selection.mix import MixSettings
from burnish.stages.base import Inputs
from burnish.stages.curate import mix, select
from burnish.store import tables


def examples(count: int) -> list[Example]:
    return [
        Example(
            id=str(n),
            tier="expert" if n < 5 else "bulk",
            synthetic=n % 4 != 0,
            messages=[{"role": "user", "content": f"say {n // 2}"},
                      {"role": "assistant", "content": "it is so"}],
        )
        for n in range(count)
    ]  # fmt: skip


def test_select_writes_one_table_and_reports(tmp_path: Path) -> None:
    tables.write(tmp_path / "x.jsonl", examples(40))
    config = select.Config(data=["x"], select=SelectSettings(count=5, near=None, semantic=None))
    where = context(tmp_path)
    made = select.run(config, Inputs({"data": [str(tmp_path / "x.jsonl")]}), where)
    # the folder as a whole is what "@select" reads: nothing else in it may look like records
    kept = tables.read(where.output, Example)
    assert len(kept) == 5
    assert made.figures["kept"].value == 5
    assert made.figures["records"].value == 40
    assert made.figures["leaked"].value == 0
    assert made.figures["leaked"].high > 0
    before, after = (made.figures[f"nearest_distance_{when}"] for when in ("before", "after"))
    assert before.value == pytest.approx(0, abs=1e-5)
    assert after.low > 0
    assert [step["left"] for step in made.details["funnel"]] == [20, 5]
    assert (where.output / "selected.removed.tsv").read_text().count("\n") == 36


def test_mix_writes_one_table_and_reports(tmp_path: Path) -> None:
    tables.write(tmp_path / "x.jsonl", examples(40))
    shares = {"expert": 0.25, "bulk": 0.75}
    settings = MixSettings(tiers=shares, count=20, tier_weights={"bulk": 0.5})
    where = context(tmp_path)
    config = mix.Config(data=["x"], mix=settings)
    made = mix.run(config, Inputs({"data": [str(tmp_path / "x.jsonl")]}), where)
    mixed = tables.read(where.output, Example)
    assert len(mixed) == 20
    assert {(one.tier, one.weight) for one in mixed} == {("expert", 1.0), ("bulk", 0.5)}
    assert made.figures["share_expert"].value == 0.25
    assert 0.7 <= made.figures["share_synthetic"].value <= 0.8
    assert made.details["before"]["counts"] == {"expert": 5, "bulk": 35, "selected": 0}
