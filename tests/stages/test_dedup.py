from __future__ import annotations

from pathlib import Path

from tests.stages.fits import context

from burnish.records import Document
from burnish.stages.base import Inputs
from burnish.stages.curate import dedup
from burnish.store import tables


def test_the_stage_leaves_parts_and_what_it_removed(tmp_path: Path) -> None:
    texts = ["One and the same.", "Another text", "one and the same"]
    documents = [Document(id=f"d{n}", text=text) for n, text in enumerate(texts)]
    tables.write(tmp_path / "x.jsonl", documents)
    config = dedup.Config(data=str(tmp_path / "x.jsonl"), kind="document", part=2)
    inputs = Inputs({"data": [str(tmp_path / "x.jsonl")]})
    there = context(tmp_path)
    outcome = dedup.run(config, inputs, there)
    assert outcome.kind == "data"
    assert {name: figure.value for name, figure in outcome.figures.items()} == {
        "kept": 2,
        "removed": 1,
    }
    assert [one.id for one in tables.iterate(there.output, Document)] == ["d0", "d1"]
    assert sorted(path.name for path in there.output.iterdir()) == [
        "part-00000.parquet", "part-00001.parquet", "removed-00000.tsv", "removed-00001.tsv",
    ]  # fmt: skip
