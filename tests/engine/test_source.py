from __future__ import annotations

import pytest
from tests.engine import fits

from burnish.config import InputError
from burnish.engine import DatasetSource
from burnish.text.batches import Segment


def ids(source: DatasetSource, step: int) -> list[str]:
    window = source.window(step)
    assert window is not None
    return [name for batch in window for name in batch.ids]


def test_each_epoch_has_every_record_once_in_another_order() -> None:
    # sequences, not sets.
    source = DatasetSource(fits.segments(23), fits.settings(), seed=5)
    assert source.steps == 12
    first = [name for step in range(6) for name in ids(source, step)]
    second = [name for step in range(6, 12) for name in ids(source, step)]
    everything = sorted(f"record-{i}" for i in range(23))
    assert sorted(first) == sorted(second) == everything
    assert first != second
    assert [len(ids(source, step)) for step in range(6)] == [4, 4, 4, 4, 4, 3]
    assert source.window(12) is None
    again = DatasetSource(fits.segments(23), fits.settings(), seed=5)
    assert [ids(again, step) for step in range(12)] == [ids(source, step) for step in range(12)]
    other = DatasetSource(fits.segments(23), fits.settings(), seed=6)
    assert ids(other, 0) != ids(source, 0)


def test_phases_come_in_order_and_are_shuffled_inside() -> None:
    phases = [2 - i % 3 for i in range(23)]
    source = DatasetSource(fits.segments(23), fits.settings(), seed=5, phases=phases)
    # the windows of an epoch, those of a window in any order
    first, second = (
        [sorted(ids(source, step)) for step in range(begin, begin + 6)] for begin in (0, 6)
    )
    for epoch in (first, second):
        order = [[phases[int(name.split("-")[1])] for name in window] for window in epoch]
        # 7 of phase 0, 8 of phase 1, 8 of phase 2 in windows of 4
        assert [sorted(window) for window in order] == [
            [0, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1], [1, 1, 1, 2], [2, 2, 2, 2], [2, 2, 2],
        ]  # fmt: skip
    assert first != second
    flat = DatasetSource(fits.segments(23), fits.settings(), seed=5, phases=[0] * 23)
    plain = DatasetSource(fits.segments(23), fits.settings(), seed=5)
    assert [ids(flat, step) for step in range(12)] == [ids(plain, step) for step in range(12)]


def test_windows_of_each_phase_have_its_size_and_end_at_its_boundary() -> None:
    phases = [2 - i % 3 for i in range(23)]  # 7 of phase 0, 8 of phase 1, 8 of phase 2
    units, sizes = fits.segments(23), {0: 5, 1: 3, 2: 8}
    source = DatasetSource(units, fits.settings(), seed=5, phases=phases, sizes=sizes)
    windows = [[phases[int(name.split("-")[1])] for name in ids(source, step)]
               for step in range(source.steps)]  # fmt: skip
    epoch = [[0] * 5, [0] * 2, [1] * 3, [1] * 3, [1] * 2, [2] * 8]
    assert windows == epoch * 2
    # the order is that of the phases alone: sizes only cut it
    plain = DatasetSource(units, fits.settings(), seed=5, phases=phases)
    first = [[name for step in range(6) for name in ids(one, step)] for one in (source, plain)]
    assert sorted(first[0][:7]) == sorted(f"record-{i}" for i in range(23) if phases[i] == 0)
    assert sorted(first[0]) == sorted(first[1])
    other = DatasetSource(units, fits.settings(), seed=5, phases=phases, sizes={**sizes, 0: 4})
    with pytest.raises(InputError, match="training data changed"):
        other.restore(source.state(), {})


def test_micro_batches_hold_at_most_so_many_tokens() -> None:
    records = [*fits.segments(23), Segment([7] * 50, [True] * 50, "long")]
    source = DatasetSource(records, fits.settings(epochs=1), seed=0)
    batches = [batch for step in range(source.steps) for batch in source.window(step) or []]
    assert all(len(b.tokens) <= 30 or b.ids == ["long"] for b in batches)


def test_windows_by_tokens() -> None:
    settings = fits.settings(epochs=1, tokens_per_step=40)
    source = DatasetSource(fits.segments(23), settings, seed=0)
    totals = [sum(len(b.tokens) for b in source.window(s) or []) for s in range(source.steps)]
    assert all(40 <= total < 60 for total in totals[:-1])
    assert sum(totals) == sum(len(segment.tokens) for segment in fits.segments(23))


def test_a_pair_stays_together_in_order() -> None:
    records = fits.segments(20)
    pairs = [(records[i], records[i + 1]) for i in range(0, 20, 2)]
    source = DatasetSource(pairs, fits.settings(epochs=1, segments_per_step=3), seed=0)
    for step in range(source.steps):
        for batch in source.window(step) or []:
            numbers = [int(name.split("-")[1]) for name in batch.ids]
            assert all(n % 2 == 0 for n in numbers[::2])
            assert [n + 1 for n in numbers[::2]] == numbers[1::2]


def test_max_steps_cuts() -> None:
    source = DatasetSource(fits.segments(23), fits.settings(max_steps=4), seed=5)
    assert source.steps == 4
    assert source.window(4) is None


def test_nothing_to_train_on() -> None:
    masked = [Segment([7, 8, 9], [True, False, False], "a")]
    with pytest.raises(InputError, match="none of the 1 records"):
        DatasetSource(masked, fits.settings(), seed=0)
    with pytest.raises(InputError, match="none of the 0 records"):
        DatasetSource([], fits.settings(), seed=0)


def test_changed_data_are_refused() -> None:
    #
    state = DatasetSource(fits.segments(23), fits.settings(), seed=5).state()
    DatasetSource(fits.segments(23), fits.settings(), seed=5).restore(state, {})
    with pytest.raises(InputError, match="training data changed"):
        DatasetSource(fits.segments(23, seed=1), fits.settings(), seed=5).restore(state, {})
