"""Feedback from service as preferences: what is new, what is replayed, whose word counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.stages.fits import context

from burnish.config import InputError
from burnish.records import Feedback, Preference
from burnish.stages.base import Inputs, Outcome
from burnish.stages.curate import feedback
from burnish.store import tables
from burnish.store.registry import Registry


def turn(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def thumb(question: str, reply: str, up: bool, user: str | None = None) -> dict[str, Any]:
    row = {"prompt": [turn("user", question)], "completion": [turn("assistant", reply)],
           "label": up}  # fmt: skip
    return {"kind": "feedback", "record": row, "user": user, "arm": "a"}


def better(question: str, chosen: str, rejected: str, user: str | None = None) -> dict[str, Any]:
    row = {"prompt": [turn("user", question)], "chosen": [turn("assistant", chosen)],
           "rejected": [turn("assistant", rejected)]}  # fmt: skip
    return {"kind": "preference", "record": row, "user": user, "arm": "a"}


def told(folder: Path, *entries: dict[str, Any]) -> None:
    with Registry(folder / "registry.sqlite") as registry:
        begun = len(registry.feedback())
        for at, content in enumerate(entries, begun):
            assert registry.add_feedback(f"k{at}", "sft@1", content)


def run(folder: Path, last: Path | None = None, **settings: Any) -> tuple[Outcome, Path]:
    work = folder / f"run{len(list(folder.glob('run*')))}"
    work.mkdir()
    where = replace(context(work), registry=folder / "registry.sqlite")
    config = feedback.Config.model_validate({"least": 1} | settings)
    inputs = {"last": [str(last)]} if last else {}
    inputs |= {"replay": settings["replay"]} if "replay" in settings else {}
    return feedback.run(config, Inputs(inputs), where), where.output


def texts(path: Path) -> list[tuple[str, str]]:
    return [
        (pair.chosen[0]["content"], pair.rejected[0]["content"])
        for pair in tables.read(path, Preference)
    ]


def test_better_answers_and_thumbs_on_one_conversation_are_pairs(tmp_path: Path) -> None:
    told(
        tmp_path,
        better("q1", "good", "bad"),
        thumb("q2", "liked", True),
        thumb("q2", "disliked", False),
        thumb("q3", "alone", True),
        {"kind": "other"},
        {"kind": "feedback", "record": {"prompt": "x"}},
    )
    made, output = run(tmp_path)
    assert texts(output / "preferences.jsonl") == [("good", "bad"), ("liked", "disliked")]
    single = tables.read(output / "feedback.jsonl", Feedback)
    assert [(one.completion[0]["content"], one.label) for one in single] == [("alone", True)]
    assert {one.source for one in single} == {"feedback:sft@1"}
    expected = {"entries": 6, "unread": 2, "new": 4, "pairs": 2, "liked": 2, "disliked": 1}
    assert {name: made.details[name] for name in expected} == expected


def test_only_what_came_since_the_last_round_is_new_and_the_rest_is_replayed(
    tmp_path: Path,
) -> None:
    told(tmp_path, *(better(f"q{n}", f"good {n}", "bad") for n in range(4)))
    _, first = run(tmp_path)
    assert len(texts(first / "preferences.jsonl")) == 4
    assert not (first / "feedback.jsonl").exists()
    with pytest.raises(InputError, match=r"0 new entries.*at least 1 \(setting least\)"):
        run(tmp_path, first)
    told(tmp_path, better("q8", "new 8", "bad"), better("q9", "new 9", "bad"))
    kept = tmp_path / "kept.jsonl"
    tables.write(kept, [Preference(id="k", prompt=[turn("user", "k")],
                                   chosen=[turn("assistant", "kept")],
                                   rejected=[turn("assistant", "gone")])])  # type: ignore[list-item]  # fmt: skip
    made, second = run(tmp_path, first, replay=[str(kept)], replay_share=1.5)
    found = texts(second / "preferences.jsonl")
    assert [one for one, _ in found[:2]] == ["new 8", "new 9"]
    assert (made.details["pairs"], made.details["replayed"]) == (2, 3)
    pool = {(f"good {n}", "bad") for n in range(4)} | {("kept", "gone")}
    assert len(set(found[2:])) == 3
    assert set(found[2:]) <= pool
    _, all_of_it = run(tmp_path, first, replay=[str(kept)], replay_share=9)
    assert set(texts(all_of_it / "preferences.jsonl")[2:]) == pool


def test_a_users_last_word_counts_and_nobody_counts_more_than_so_often(tmp_path: Path) -> None:
    told(
        tmp_path,
        thumb("q", "r", True, "ann"),
        thumb("q", "r", False, "ann"),
        thumb("q", "other", True, "bob"),
        *(better(f"q{n}", "spam", f"bad {n}", "eve") for n in range(5)),
    )
    made, output = run(tmp_path, per_user=2)
    found = texts(output / "preferences.jsonl")
    assert found == [("spam", "bad 3"), ("spam", "bad 4"), ("other", "r")]
    assert (made.details["liked"], made.details["disliked"]) == (1, 1)
    assert made.details["left_out"] == 4
    assert made.details["users"] == 3


def test_thumbs_without_a_pair_and_nothing_to_replay_is_said(tmp_path: Path) -> None:
    told(tmp_path, thumb("q1", "a", True), thumb("q2", "b", False))
    with pytest.raises(InputError, match="2 entries of which no two are about the same"):
        run(tmp_path)
