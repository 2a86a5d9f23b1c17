from __future__ import annotations

from collections import Counter

import pytest

from burnish.config import InputError
from burnish.records import Document, Example, Tier
from burnish.selection.mix import (
    PYRAMID,
    mix_documents,
    mix_tasks,
    mix_tiers,
    task_counts,
    tier_report,
)


def documents(count: int, size: int, source: str) -> list[Document]:
    return [
        Document(id=f"{source}{i}", text=" ".join(["w"] * size), source=source)
        for i in range(count)
    ]


def length(document: Document) -> int:
    return len(document.text.split())


def test_the_ratio_is_measured_in_tokens() -> None:
    domain, general = documents(10, 20, "d"), documents(100, 50, "g")
    mixed, report = mix_documents(domain, general, 5, length, seed=0)
    # 200 domain tokens ask for 1000 general ones: 20 documents of 50
    assert (report.domain_tokens, report.general_tokens, report.general_documents) == (
        200,
        1000,
        20,
    )
    assert report.ratio == 5.0
    assert Counter(document.source for document in mixed) == {"d": 10, "g": 20}
    again, _ = mix_documents(domain, general, 5, length, seed=0)
    assert again == mixed
    assert mix_documents(domain, general, 5, length, seed=1)[0] != mixed


def test_the_nearer_number_of_documents_is_taken() -> None:
    domain = documents(1, 10, "d")
    # 10 tokens wanted, documents of 4: 8 is nearer than 12 is not, both 2 away; the second stays
    assert mix_documents(domain, documents(9, 4, "g"), 1, length, 0)[1].general_tokens in (8, 12)
    # documents of 6: 6 is 4 away, 12 is 2 away
    assert mix_documents(domain, documents(9, 6, "g"), 1, length, 0)[1].general_tokens == 12
    # documents of 16: 0 is 10 away, 16 is 6 away
    assert mix_documents(domain, documents(9, 16, "g"), 1, length, 0)[1].general_tokens == 16
    # documents of 21: 0 is 10 away, 21 is 11 away
    assert mix_documents(domain, documents(9, 21, "g"), 1, length, 0)[1].general_tokens == 0


def test_a_shortage_shows_in_the_report_and_repeats_are_bounded() -> None:
    domain, general = documents(10, 10, "d"), documents(10, 10, "g")
    assert mix_documents(domain, general, 5, length, 0)[1].ratio == 1.0
    mixed, report = mix_documents(domain, general, 5, length, 0, max_repeats=3)
    assert (report.ratio, report.repeats) == (3.0, 3.0)
    assert max(Counter(document.id for document in mixed).values()) == 3


def test_nothing_to_mix_is_an_input_error() -> None:
    with pytest.raises(InputError, match="no tokens"):
        mix_documents([], documents(1, 1, "g"), 1, length, 0)
    with pytest.raises(InputError, match="ratio 1 needs some"):
        mix_documents(documents(1, 1, "d"), [], 1, length, 0)


def test_task_counts_by_temperature() -> None:
    sizes = {"a": 90, "b": 10}
    assert task_counts(sizes, 10, 1.0) == {"a": 9, "b": 1}
    # sqrt: 9.487 : 3.162 = 3 : 1
    assert task_counts(sizes, 100, 2.0) == {"a": 75, "b": 25}
    assert task_counts(sizes, 10, 1e9) == {"a": 5, "b": 5}
    # thirds of 10: 3 each, the one left goes to the first by name
    assert task_counts({"x": 5, "y": 5, "z": 5}, 10, 1.0) == {"x": 4, "y": 3, "z": 3}


def test_mix_tasks_uses_every_example_before_repeating() -> None:
    examples = [Example(id=f"a{i}", messages=[], task="a") for i in range(8)]
    examples += [Example(id=f"b{i}", messages=[], task="b") for i in range(2)]
    drawn = mix_tasks(examples, 10, 1e9, seed=3)
    counts = Counter(example.id for example in drawn)
    assert Counter(example.task for example in drawn) == {"a": 5, "b": 5}
    assert sorted(counts[f"b{i}"] for i in range(2)) == [2, 3]
    assert max(counts[f"a{i}"] for i in range(8)) == 1
    assert mix_tasks(examples, 10, 1e9, seed=3) == drawn


def tiered(**counts: int) -> list[Document]:
    made: list[Document] = []
    for name, count in counts.items():
        tier: Tier = name  # type: ignore[assignment]
        made += [
            Document(id=f"{name}{i}", text="", tier=tier, synthetic=name != "expert")
            for i in range(count)
        ]
    return made


def test_tier_report_and_the_enforced_pyramid() -> None:
    records = tiered(expert=10, selected=50, bulk=70)
    report = tier_report(records)
    assert report.counts == {"expert": 10, "selected": 50, "bulk": 70}
    assert report.shares["bulk"] == pytest.approx(70 / 130)
    assert report.synthetic == pytest.approx(120 / 130)
    kept = mix_tiers(records, PYRAMID, seed=0)
    # bulk is the scarce one: 70 / 0.7 = 100 records, of them 5 expert and 25 selected
    assert tier_report(kept).counts == {"expert": 5, "selected": 25, "bulk": 70}
    with pytest.raises(InputError, match="no records of tier 'expert'"):
        mix_tiers(tiered(bulk=5, selected=5), PYRAMID, seed=0)
