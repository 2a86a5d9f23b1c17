"""What of a violating reply is written down, and which pairs are kept."""

from __future__ import annotations

import pytest

from burnish.records import Preference
from burnish.stages.constitutional import balanced, opening


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Sure. First, take the", "Sure."),
        ("好的，我来说明。首先", "好的，我来说明。"),
        ("No full stop here", "No full stop here"),
        ("", ""),
    ],
)
def test_only_the_opening_of_a_rejected_reply_is_kept(reply: str, expected: str) -> None:
    assert opening(reply) == expected


def pair(number: int, kind: str) -> Preference:
    return Preference(
        id=f"{kind}-{number}",
        source="test",
        lang="en",
        tier="selected",
        synthetic=True,
        prompt=[{"role": "user", "content": "?"}],
        chosen=[{"role": "assistant", "content": "a"}],
        rejected=[{"role": "assistant", "content": "b"}],
        topic=kind,
    )


def test_neither_helping_nor_declining_outnumbers_the_other() -> None:
    kinds = ["comply"] * 5 + ["refuse"] * 2 + [""] * 3
    pairs = [pair(number, kind) for number, kind in enumerate(kinds)]
    kept = balanced(pairs)
    assert [p.topic for p in kept] == ["comply"] * 2 + ["refuse"] * 2 + [""] * 3
    assert kept == [p for p in pairs if p in kept]
    assert {p.id for p in balanced(pairs[::-1])} == {p.id for p in kept}


def test_pairs_of_one_kind_are_all_kept() -> None:
    pairs = [pair(number, "refuse") for number in range(4)]
    assert balanced(pairs) == pairs
    assert balanced([]) == []
