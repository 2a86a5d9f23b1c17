from __future__ import annotations

import pytest

from burnish.records import Document, Example, Prompt
from burnish.selection.decontaminate import DecontaminateSettings, find_leaks

EIGHT = "one two three four five six seven eight"


def item(text: str, id: str = "q1") -> Prompt:
    return Prompt(id=id, messages=[{"role": "user", "content": text}])


def document(text: str) -> Document:
    return Document(id="d1", text=text)


def test_seven_shared_words_never_match_and_eight_do() -> None:  # C-40
    seven = document("zero one two three four five six seven and more")
    eight = document(f"zero {EIGHT} nine")
    assert find_leaks([seven], {"quiz": [item(EIGHT)]}).hits == []
    hits = find_leaks([eight], {"quiz": [item(EIGHT)]}).hits
    assert [(hit.record_id, hit.task, hit.item_id, hit.coverage) for hit in hits] == [
        ("d1", "quiz", "q1", 1.0)
    ]


@pytest.mark.parametrize(("extra", "found"), [(7, 1), (8, 1), (9, 0)])
def test_coverage_counts_from_one_half(extra: int, found: int) -> None:  # C-40
    # 8 shared words of 8 + extra: 8/15, 8/16 = .5 (a hit), 8/17
    question = EIGHT + " " + " ".join(f"x{i}" for i in range(extra))
    report = find_leaks([document(EIGHT)], {"quiz": [item(question)]})
    assert report.per_task == {"quiz": found}


@pytest.mark.parametrize(
    "text",
    [EIGHT.upper(), EIGHT.replace(" ", "\n\t "), EIGHT.replace(" ", ", "), "one" + EIGHT[3:]],
)  # fmt: skip
def test_case_width_and_space_do_not_hide_a_leak(text: str) -> None:  # C-40
    assert len(find_leaks([document(text)], {"quiz": [item(EIGHT)]}).hits) == 1


def test_a_short_item_is_hit_only_by_the_whole_turn() -> None:
    question = item("What is the capital of France?")
    asked = Example(
        id="e1",
        messages=[
            {"role": "user", "content": "what is the capital of france"},
            {"role": "assistant", "content": "Paris."},
        ],
    )
    told = document("Tell me, what is the capital of France?")
    assert find_leaks([asked, told], {"atlas": [question]}).record_ids() == {"e1"}


def test_every_evaluation_is_reported_and_grams_do_not_cross_turns() -> None:
    split = Example(
        id="e1",
        messages=[
            {"role": "user", "content": "one two three four"},
            {"role": "assistant", "content": "five six seven eight"},
        ],
    )
    evaluations = {"a": [item(EIGHT)], "b": [item("一二三四五六七八", "z1"), item("别的", "z2")]}
    report = find_leaks([split, Document(id="d2", text="他说一二三四五六七八。")], evaluations)
    assert report.per_task == {"a": 0, "b": 1}
    assert report.record_ids() == {"d2"}


def test_a_shorter_ngram_is_a_setting() -> None:
    settings = DecontaminateSettings(ngram=3, coverage=0.3)
    hits = find_leaks([document("one two three")], {"quiz": [item(EIGHT)]}, settings).hits
    assert [hit.coverage for hit in hits] == [3 / 8]
