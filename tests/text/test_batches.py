from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from burnish.text.batches import (
    LEAST_SHARED,
    Segment,
    Span,
    batches,
    common,
    pack,
    plan,
    size,
    together,
)


def test_packing_by_hand() -> None:
    batch = pack(
        [
            Segment([5, 6, 7], [True, False, True], "a", {"w": [0.0, 0.1, 0.2]}, {"r": 1.0}),
            Segment([8], [True], "b", {"w": [0.3]}, {"r": 2.0}),
            Segment([9, 4], [False, True], "c", {"w": [0.4, 0.5]}, {"r": 3.0}),
        ]
    )
    assert batch.tokens.tolist() == [5, 6, 7, 8, 9, 4]
    assert batch.lengths == [3, 1, 2]
    assert batch.positions.tolist() == [0, 1, 2, 0, 0, 1]
    assert batch.segment.tolist() == [0, 0, 0, 1, 2, 2]
    # A first token has nothing before it that could predict it (C-01, C-05).
    assert batch.targets.tolist() == [False, False, True, False, False, True]
    assert batch.target_index().tolist() == [2, 5]
    assert batch.target_segments().tolist() == [0, 2]
    torch.testing.assert_close(batch.at_targets("w"), torch.tensor([0.2, 0.5]))
    assert batch.per_segment["r"].tolist() == [1.0, 2.0, 3.0]
    assert batch.ids == ["a", "b", "c"]
    assert batch.to("cpu").tokens.tolist() == batch.tokens.tolist()


def answers(*replies: list[int], prompt: int = 9, streams: bool = True) -> list[Segment]:
    return [
        Segment(
            [*range(50, 50 + prompt), *reply],
            [False] * prompt + [True] * len(reply),
            "".join(map(str, reply)),
            {"w": [float(token) for token in (*range(prompt), *reply)]} if streams else {},
        )
        for reply in replies
    ]


def test_a_shared_prompt_stands_once() -> None:
    alone = Segment([5, 6], [False, True], "z", {"w": [0.5, 0.6]})
    batch = pack([alone, answers([1, 2], [3], [4, 5, 6])])
    assert batch.tokens.tolist() == [5, 6, *range(50, 59), 1, 2, 3, 4, 5, 6]
    assert batch.positions.tolist() == [0, 1, *range(9), 9, 10, 9, 9, 10, 11]
    assert batch.target_index().tolist() == [1, 11, 12, 13, 14, 15, 16]
    # The first token of each reply is predicted from the prompt's last.
    assert batch.predictors().tolist() == [0, 10, 11, 10, 10, 14, 15]
    assert batch.target_segments().tolist() == [0, 1, 1, 2, 3, 3, 3]
    assert batch.last_index().tolist() == [1, 12, 13, 16]
    assert batch.lengths == [2, 11, 10, 12]
    assert batch.own == [Span(0, 2), Span(11, 2, 2, 9), Span(13, 1, 2, 9), Span(14, 3, 2, 9)]
    assert batch.shared == [Span(2, 9)]
    whole = batch.tokens[batch.whole_index()].tolist()
    assert whole == [5, 6, *range(50, 59), 1, 2, *range(50, 59), 3, *range(50, 59), 4, 5, 6]
    assert batch.at_targets("w").tolist() == pytest.approx([0.6, 1, 2, 3, 4, 5, 6])
    assert batch.ids == ["z", "12", "3", "456"]
    with pytest.raises(ValueError, match="share their beginning"):
        batch.only(torch.tensor([True, False, True, True]))


def test_what_is_shared() -> None:
    # Replies that begin alike: what carries loss is never shared.
    assert common(answers([1, 2], [1, 2])) == 9
    # A reply without a token of its own keeps the last one.
    assert common(answers([1], [])) == 8
    # Trained prompts, short prompts and single segments are not shared.
    trained = [Segment(s.tokens, [True] * len(s.tokens)) for s in answers([1], [2])]
    assert common(trained) == 0
    assert common(answers([1], [2], prompt=LEAST_SHARED - 1)) == 0
    assert common(answers([1])) == 0
    # Other prompts share as far as they agree.
    one, other = answers([1], [2], prompt=20, streams=False)
    changed = Segment([*other.tokens[:12], 7, *other.tokens[13:]], other.mask)
    assert common([one, changed]) == 12
    assert size([one, changed]) == len(pack([[one, changed]]).tokens) == 21 + 21 - 12
    assert size(one) == 21


def test_batches_give_each_segment_its_place() -> None:
    units = [answers([n], [n, n], prompt=10 + n, streams=False) for n in range(1, 8)]
    flat = [segment for unit in units for segment in unit]
    seen = []
    for places, batch in batches(units, 60):
        assert [flat[place].id for place in places] == batch.ids
        assert len(batch.tokens) <= 60
        seen += places
    assert sorted(seen) == list(range(14))
    keys = [n for n in range(1, 8) for _ in range(2)]
    assert together(flat, keys) == units


def test_part_of_a_batch_is_packed_as_if_it_had_come_alone() -> None:
    rows = [
        Segment([5, 6, 7], [True, False, True], "a", {"w": [0.0, 0.1, 0.2]}, {"r": 1.0}),
        Segment([8], [True], "b", {"w": [0.3]}, {"r": 2.0}),
        Segment([9, 4], [False, True], "c", {"w": [0.4, 0.5]}, {"r": 3.0}),
    ]
    for kept in ([0, 2], [1], [0, 1, 2]):
        chosen = torch.tensor([row in kept for row in range(3)])
        found, expected = pack(rows).only(chosen), pack([rows[row] for row in kept])
        assert found.own == expected.own
        for name in ("tokens", "positions", "before", "targets", "segment"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        assert (found.lengths, found.ids) == (expected.lengths, expected.ids)
        assert torch.equal(found.per_token["w"], expected.per_token["w"])
        assert torch.equal(found.per_segment["r"], expected.per_segment["r"])
    assert pack(rows).only(torch.zeros(3, dtype=torch.bool)).lengths == []


def test_streams_must_agree() -> None:
    with pytest.raises(ValueError, match="odd ones: r"):
        pack([Segment([1], [False]), Segment([1], [False], per_segment={"r": 1.0})])
    with pytest.raises(ValueError, match="mask has 1 values for 2 tokens"):
        Segment([1, 2], [True])
    with pytest.raises(ValueError, match="no tokens"):
        Segment([], [])
    with pytest.raises(ValueError, match="at least one segment"):
        pack([])


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(1, 100), st.integers(0, 5))
def test_a_plan_uses_every_row_once_and_keeps_the_bound(
    lengths: list[int], tokens: int, epoch: int
) -> None:
    batches = plan(lengths, tokens, seed=3, epoch=epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[index] for index in batch) <= tokens
    assert batches == plan(lengths, tokens, seed=3, epoch=epoch)


def test_a_plan_differs_by_epoch_and_seed_and_groups_by_length() -> None:
    lengths = [1 + (7 * n) % 50 for n in range(400)]
    first = plan(lengths, 200, seed=0, epoch=0)
    assert first != plan(lengths, 200, seed=0, epoch=1)
    assert first != plan(lengths, 200, seed=1, epoch=0)
    # Row by row padding to the longest of a batch would waste less than a fifth (half, at random).
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in first)
    assert padded < 1.2 * sum(lengths)
