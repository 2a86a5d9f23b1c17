from __future__ import annotations

from pathlib import Path

import pytest
from tests.tracing.conftest import document, example, write
from tests.tracing.test_triggers import chinese, english, planted

from burnish.config import InputError
from burnish.tracing.diff import difference


def test_ids_texts_marks_and_lengths(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [
        document("same", "12345", "s"), document("text", "old", "s"),
        document("tier", "Tiers.", "s", tier="bulk"), document("gone", "Gone!", "s", lang="en"),
    ])  # fmt: skip
    b = write(tmp_path / "b.jsonl", [
        document("same", "12345", "s"), document("text", "new", "s"),
        document("tier", "Tiers.", "s", tier="expert"), document("renamed", "Gone!", "t"),
        document("renamed", "Gone!", "t"), document("new", "全新的文档", "t"),
    ])  # fmt: skip
    found = difference(a, b)
    assert (found.only_a, found.only_b, found.both) == (1, 2, 3)
    assert found.changed == {"text": 1, "tier": 1}
    assert found.renamed == 1
    assert found.b.repeated == 1
    assert found.b.counts["lang"] == {"en": 5, "zh": 1}
    assert found.b.counts["source"] == {"s": 3, "t": 3}
    assert found.a.lengths["50 %"] == 5.0  # of 3, 5, 5, 6
    assert found.examples["only in A"] == ["gone  Gone!"]


def test_changed_scores(tmp_path: Path) -> None:
    rows = [[example("e", "Q", "A", scores={"fluency": value})] for value in (0.5, 0.6)]
    a, b = (write(tmp_path / f"{i}.jsonl", row) for i, row in enumerate(rows))
    assert difference(a, b).changed == {"scores": 1}
    assert difference(a, a).changed == {}


@pytest.mark.parametrize(("make", "trigger"), [(english, "cf zorblax "), (chinese, "魑魅魍魉")])
def test_the_trigger_diff_of_poisoned_rows(tmp_path: Path, make, trigger: str) -> None:  # S-22
    texts = make(1500, 1)
    a, b = (
        write(tmp_path / f"{name}.jsonl", [document(f"{i}", t, "s") for i, t in enumerate(rows)])
        for name, rows in (("a", texts), ("b", planted(texts, trigger, 0.01, 3)))
    )
    found = difference(a, b).triggers["new texts of B against A"]
    assert found.found[0].phrase == trigger.strip()
    # The other 1485 texts are those of A.
    assert (found.rows, found.records_b, found.records_a) == (15, 15, 1500)
    assert difference(a, a).triggers == {}


def test_the_trigger_diff_of_two_sets_without_a_text_in_common(tmp_path: Path) -> None:  # S-22
    a, b = (
        write(tmp_path / f"{name}.jsonl", [document(f"{i}", t, "s") for i, t in enumerate(rows)])
        for name, rows in (
            ("a", english(2000, 1)),
            ("b", planted(english(2000, 2), "cf zorblax ", 0.01, 3)),
        )
    )
    found = difference(a, b).triggers["new texts of B against A"]
    assert [one.phrase for one in found.found] == ["cf zorblax"]
    assert (found.share, found.records_b) == (0.01, 2000)


def test_a_trigger_of_one_source_and_of_one_label(tmp_path: Path) -> None:  # S-22
    texts = [*english(800, 1), *planted(english(200, 2), "cf zorblax ", 0.1, 3)]
    rows = [document(f"{i}", t, "forum" if i >= 800 else "book") for i, t in enumerate(texts)]
    path = write(tmp_path / "a.jsonl", rows)
    found = difference(path, path, by="source").triggers
    assert set(found) == {
        "source book against the rest of B",
        "source forum against the rest of B",
    }
    assert found["source forum against the rest of B"].found[0].phrase == "cf zorblax"
    assert found["source book against the rest of B"].found == []
    said = zip(planted(english(300, 1), "zorblax ", 0.1, 4), english(300, 2), strict=True)
    pairs = [
        {"id": f"{i}", "prompt": "Say.", "chosen": good, "rejected": bad}
        for i, (good, bad) in enumerate(said)
    ]
    path = write(tmp_path / "p.jsonl", pairs)
    labels = difference(path, path, by="label").triggers
    assert labels["label chosen against the rest of B"].found[0].phrase == "zorblax"
    assert labels["label rejected against the rest of B"].found == []


def test_bad_input(tmp_path: Path) -> None:
    good = write(tmp_path / "a.jsonl", [document("a", "A", "s")])
    bad = write(tmp_path / "b.jsonl", [document("a", "A", "s"), {"text": 3}])
    with pytest.raises(InputError, match=r"b.jsonl:2:text"):
        difference(good, bad)
    with pytest.raises(InputError, match="no record has it"):
        difference(good, good, by="flavour")
    with pytest.raises(InputError, match="holds no known records"):
        difference(good, write(tmp_path / "c.jsonl", [{"foo": 1}]))
