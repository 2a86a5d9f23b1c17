"""``curate.quarantine``: a recipe honours what was quarantined."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.tracing.conftest import document, example, write

from burnish.config import InputError
from burnish.engine import SilentProgress
from burnish.records import Example
from burnish.stages.base import Context, Inputs, Outcome
from burnish.stages.curate.quarantine import Config, run
from burnish.store import tables


def done(tmp_path: Path, **settings: object) -> Outcome:
    config = Config(data=["a.jsonl", "b.jsonl"], **settings)  # type: ignore[arg-type]
    resolved = {
        "data.0": [str(tmp_path / "a.jsonl")],
        "data.1": [str(tmp_path / "b.jsonl")],
        **{f"lists.{i}": [name] for i, name in enumerate(config.lists)},
    }
    (tmp_path / "out").mkdir(exist_ok=True)
    context = Context(
        name="quarantine", round=1, seed=0, output=tmp_path / "out", scratch=tmp_path / "scratch",
        cache=tmp_path / "cache", metrics=tmp_path / "m.jsonl", registry=tmp_path / "r.sqlite",
        progress=SilentProgress(),
    )  # fmt: skip
    return run(config, Inputs(resolved), context)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "a.jsonl", [document("d1", "Bad.", "forum"), document("d2", "Good.", "book")])
    write(tmp_path / "b.jsonl", [example("e1", "Q", "A", "d1"), example("e2", "Q", "B", "d2"),
                                 example("e3", "Q", "C", "elsewhere")])  # fmt: skip
    return tmp_path


def test_descendants_in_other_files_go_too(data: Path) -> None:  # S-22
    outcome = done(data, targets=["forum", "a source of another round"])
    assert [one.id for one in tables.read(data / "out" / "data" / "b.jsonl", Example)] == [
        "e2",
        "e3",
    ]
    assert (outcome.figures["removed"].value, outcome.figures["kept"].value) == (2, 3)
    assert (data / "out" / "removed.tsv").read_text().splitlines() == [
        "id\tstep\treason",
        "d1\tquarantine\tsource forum",
        "e1\tquarantine\td1 ← source forum",
    ]


def test_a_list_names_what_the_data_alone_does_not_show(data: Path) -> None:
    listed = write(data / "x.quarantine.jsonl", [{"id": "elsewhere"}])
    outcome = done(data, lists=[str(listed)])
    assert outcome.details["by_file"] == {"b.jsonl": 1}
    assert outcome.details["examples"] == [["e3", "made from elsewhere"]]


def test_nothing_named_is_refused(data: Path) -> None:
    with pytest.raises(InputError, match=r"quarantine\.targets: names nothing"):
        done(data)
