from __future__ import annotations

from pathlib import Path

import pytest
from tests.tracing.conftest import document, write

from burnish.config import InputError
from burnish.store.manifest import file_hash
from burnish.tracing import why
from burnish.tracing.index import Index
from burnish.tracing.why import explain


def test_a_sample_leads_to_its_source_model_judge_and_filters(run: Path) -> None:  # S-22
    with Index([run]) as index:
        found = explain(index, "r1")
    assert found.record.made_by is not None
    assert found.record.made_by["artifact"] == "rewrite@1"
    [parent] = found.record.parents
    assert (parent.id, parent.scores, parent.synthetic) == ("e2", {"fluency": 0.4}, True)
    assert parent.made_by is not None
    assert parent.made_by["stage"] == "curate.generate"
    assert parent.made_by["model"] == "base@1"  # what @champion was then
    assert parent.made_by["judge"] == {"judge": "judge-x"}
    assert parent.made_by["filters"] == {"min_reward": 0.3}
    assert parent.made_by["settings"] == {"temperature": 0.7, "judge": "judge-x"}
    [source] = parent.parents
    assert (source.id, source.source, source.places) == ("d2", "forum", ["docs.jsonl:2"])
    assert source.sha256 == file_hash(Path("docs.jsonl"))
    [place] = source.parents
    assert (place.id, place.origin, place.missing) == ("dump.jsonl:7", True, False)


def test_what_descends_and_which_models_were_trained_on_it(run: Path) -> None:
    with Index([run]) as index:
        found = explain(index, "d2")
    assert found.descendants == 3
    assert found.descendants_in == {
        "generate@1/examples.jsonl (example)": 2,
        "rewrite@1/rewritten.jsonl (example)": 1,
    }
    assert found.used_by == {
        "generate@1": "documents.0",
        "rewrite@1": "data.0",
        "sft@1": "data.0",
        "dpo@1": "from sft@1",
    }
    assert found.models == ["sft@1", "dpo@1"]  # not other@1, which is named alike but for its data


def test_a_record_that_nothing_used(run: Path) -> None:
    with Index([run]) as index:
        found = explain(index, "r2")
    assert (found.used_by, found.models, found.children) == ({}, [], [])


def test_an_unknown_id_names_the_nearest(run: Path) -> None:
    with (
        Index([run]) as index,
        pytest.raises(InputError, match=r"no record of.*nearest: e"),
    ):
        explain(index, "e9")


def test_cycles_missing_parents_and_many_parents(tmp_path: Path) -> None:
    many = [f"p{i}" for i in range(20)]
    rows = [document("a", "A", "s", "b"), document("b", "B", "s", "a", "nowhere"),
            document("all", "Of many.", "s", *many)]  # fmt: skip
    with Index([write(tmp_path / "x.jsonl", rows)]) as index:
        found = explain(index, "a")
        [b] = found.record.parents
        assert [(p.id, p.repeated, p.missing) for p in b.parents] == [
            ("a", True, False),
            ("nowhere", False, True),
        ]
        assert found.notes == ["a cycle: a ← b ← a"]
        assert [child.id for child in found.children] == ["b"]
        assert found.children[0].text == "B"
        wide = explain(index, "all").record
        assert (len(wide.parents), wide.more) == (12, 8)


def test_a_long_line_of_descent_is_cut_and_read_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [document(f"{i}", f"Text {i}.", "s", *([f"{i - 1}"] if i else [])) for i in range(2000)]
    path = write(tmp_path / "x.jsonl", rows)
    opened = []
    with Index([path]) as index:
        read = why.records_of
        monkeypatch.setattr(why, "records_of", lambda *a: opened.append(a) or read(*a))
        node = explain(index, "1999").record
    assert len(opened) == 1
    for number in range(1999, 1969, -1):
        assert (node.id, node.text, node.more) == (f"{number}", f"Text {number}.", 0)
        [node] = node.parents
    assert (node.id, node.text, node.more, node.parents) == ("1969", "Text 1969.", 1, [])


def test_what_a_step_removed_is_told_with_its_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "part-00000.jsonl", [document("a", "A", "s"), document("b", "B", "s")])
    (tmp_path / "removed-00000.tsv").write_text("id\tstep\treason\nx\tnear\tlike a\nb\tq\tbad\n")
    with Index([path]) as index:
        with pytest.raises(InputError, match=r"no record of.*removed by near: like a \(.*tsv\)"):
            explain(index, "x")
        assert explain(index, "a").notes == []
        assert explain(index, "b").notes[0].startswith("removed by q: bad")
