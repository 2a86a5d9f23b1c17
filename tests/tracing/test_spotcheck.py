from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.tracing.conftest import document, example, write

from burnish.config import InputError
from burnish.tracing.spotcheck import draw, places, sheet, unblind


def preference(id: str, margin: float, **more: Any) -> dict[str, Any]:
    return {"id": id, "prompt": "Q", "chosen": f"good {id}", "rejected": f"bad {id}",
            "margin": margin, **more}  # fmt: skip


def test_places_by_largest_remainder_and_one_each() -> None:
    assert places({"a": 50, "b": 30, "c": 20}, 10) == {"a": 5, "b": 3, "c": 2}
    # 7 × (0.5, 0.3, 0.2) = 3.5, 2.1, 1.4: the remaining place goes to a.
    assert places({"a": 50, "b": 30, "c": 20}, 7) == {"a": 4, "b": 2, "c": 1}
    assert places({"a": 1000, "b": 1}, 10) == {"a": 9, "b": 1}
    assert places({"a": 2, "b": 3}, 100) == {"a": 2, "b": 3}
    assert places({"a": 5, "b": 4, "c": 3}, 2) == {"a": 1, "b": 1, "c": 0}
    assert sum(places({f"{i}": 1 + i % 3 for i in range(40)}, 41).values()) == 41


def test_strata_are_topic_tier_and_score(tmp_path: Path) -> None:
    rows = [
        example(f"{topic}{i}", "Q", "A", topic=topic, tier="bulk", total=i / 30)
        for topic, count in (("x", 30), ("y", 30))
        for i in range(count)
    ]
    drawn = draw(write(tmp_path / "x.jsonl", rows), 12)
    assert Counter(one.stratum for one in drawn) == {
        f"{topic} · bulk · {band}": 2 for topic in "xy" for band in ("low", "middle", "high")
    }
    # Each of the 12 stands for its stratum's ten records in two.
    assert {one.weight for one in drawn} == {5.0}


def test_the_most_uncertain_come_first(tmp_path: Path) -> None:
    rows = [preference(f"{i}", margin) for i, margin in enumerate([3.0, -0.1, 0.0, -2.0, 0.5])]
    drawn = draw(write(tmp_path / "x.jsonl", rows), 5)
    assert [one.found.record.id for one in drawn] == ["2", "1", "4", "3", "0"]
    rows = [example(f"{i}", "Q", "A", total=total) for i, total in enumerate([0.0, 0.5, 1.0, 0.6])]
    drawn = draw(write(tmp_path / "y.jsonl", rows), 4)  # the median is 0.55
    assert {one.found.record.id for one in drawn[:2]} == {"1", "3"}


def test_preferences_are_blind(tmp_path: Path) -> None:
    rows = [preference(f"{i}", 1.0, scores={"fluency": 0.9}) for i in range(60)]
    shown, key = sheet(draw(write(tmp_path / "x.jsonl", rows), 60), ["wu", "kim"])
    assert set(shown[0]) == {"id", "prompt", "first", "second", "label_wu", "label_kim"}
    by_id = {row["id"]: row["judge"] for row in key}
    for row in shown:
        assert row[by_id[row["id"]]].startswith("good")
    # Half and half but for chance: 60 fair coins lie within 13 … 47 but once in 100,000.
    assert 13 <= sum(judge == "first" for judge in by_id.values()) <= 47


def test_every_kind_has_prompt_and_completion(tmp_path: Path) -> None:
    def shown(row: dict[str, Any]) -> tuple[str, str, Any]:
        rows, key = sheet(draw(write(tmp_path / "x.jsonl", [row]), 1), ["a"])
        return rows[0]["prompt"], rows[0]["completion"], key[0]["judge"]

    assert shown(document("d", "天地", "s")) == ("", "天地", None)
    assert shown(example("e", "Q", "A", total=0.5)) == ("Q", "A", 0.5)
    assert shown({"id": "f", "prompt": "Q", "completion": "A", "label": False}) == (
        "Q", "A", "disliked",
    )  # fmt: skip
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    assert shown({"id": "p", "messages": turns}) == ("system: S\n\nuser: Q", "", None)


def test_filled_labels_meet_their_key(tmp_path: Path) -> None:
    source = write(tmp_path / "x.jsonl", [preference(f"{i}", 1.0) for i in range(4)])
    rows, key = sheet(draw(source, 4), ["a"])
    filled = [{**row, "label_a": " first " if i else ""} for i, row in enumerate(rows)]
    joined = unblind(write(tmp_path / "f.jsonl", filled), write(tmp_path / "k.jsonl", key))
    assert [row["label_a"] for row in joined] == [None, "first", "first", "first"]
    assert [row["judge"] for row in joined] == [row["judge"] for row in key]
    other = write(tmp_path / "f.jsonl", [{"id": "zz"}])
    with pytest.raises(InputError, match=r"'zz' is not in"):
        unblind(other, tmp_path / "k.jsonl")


def test_repeated_ids_are_drawn_once_and_bad_rows_refused(tmp_path: Path) -> None:
    rows = [document("a", "A", "s"), document("a", "A", "s"), document("b", "B", "s")]
    assert len(draw(write(tmp_path / "x.jsonl", rows), 9)) == 2
    with pytest.raises(InputError, match=r"x.jsonl:2"):
        draw(write(tmp_path / "x.jsonl", [*rows[:1], {"text": 1}]), 1)
