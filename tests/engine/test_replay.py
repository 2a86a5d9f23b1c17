"""A mix whose shares change on the way, and fits that their watch changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine import fits

from burnish.config import Interrupted
from burnish.engine import Action, Change, ReplaySource, StepInfo, train
from burnish.objectives.types import Loss
from burnish.text.batches import Batch, Segment


def units(count: int, name: str, length: int) -> list[Segment]:
    tokens = list(range(6, 6 + length))
    return [Segment(tokens, [False] + [True] * (length - 1), f"{name}{i}") for i in range(count)]


def source(spare: int = 200, **changes: Any) -> ReplaySource:
    """60 domain units of 5 tokens and 30 general ones of 10, in windows of some 50 tokens."""
    settings = fits.settings(**({"epochs": 1, "tokens_per_step": 50} | changes))
    rows = [*units(60, "d", 5), *units(30, "g", 10)]
    general = [segment.id.startswith("g") for segment in rows]
    return ReplaySource(rows, settings, seed=5, general=general, spare=units(spare, "s", 7))


def ids(made: ReplaySource, step: int) -> list[str]:
    return [name for batch in made.window(step) or [] for name in batch.ids]


def test_share_of_what_is_still_to_come_rises_and_nothing_before_changes() -> None:
    # C-42: within 1 % in tokens, over all windows that are left.
    made, plain = source(), source()
    assert made.share() == 0.5
    before = [ids(made, step) for step in range(made.steps)]
    made.remix(4, 0.8)
    assert made.steps == plain.steps == len(before)
    assert [ids(made, step) for step in range(4)] == before[:4]
    assert made.share(4) == pytest.approx(0.8, abs=0.01)
    for step in range(4, made.steps):
        held = sum(batch.tokens.numel() for batch in made.window(step) or [])
        whole = sum(batch.tokens.numel() for batch in plain.window(step) or [])
        assert abs(held - whole) <= 7
        assert made.metrics()["general_share"] == pytest.approx(0.8, abs=0.1)
    seen = [name for step in range(made.steps) for name in ids(made, step)]
    assert len(set(seen)) == len(seen)
    gone = {name for row in before for name in row} - set(seen)
    assert all(name.startswith("d") for name in gone)
    assert made.left_out == 5 * len(gone) > 0


def test_where_the_spare_text_ends_the_rest_stays() -> None:
    made, plain = source(spare=3), source()
    assert made.spare == 21
    made.remix(0, 1.0)
    assert made.spare == 0
    assert made.left_out == pytest.approx(21, abs=5)
    assert ids(made, made.steps - 1) == ids(plain, plain.steps - 1)
    assert all(ids(made, step) for step in range(made.steps))


def test_without_a_change_it_is_the_data_set_itself() -> None:
    made = source(spare=0)
    assert made.state()["changes"] == []
    assert made.share() == 0.5


def answers(script: dict[int, Action], cut: int | None = None) -> Any:
    def watch(info: StepInfo) -> Action | None:
        if cut is not None:
            fits.interrupt_at(cut)(info)
        return script.get(info.step)

    return watch


SCRIPTS: dict[str, dict[int, Action]] = {
    "replay": {3: Change(share=0.8), 6: Change(share=0.95)},
    "rate": {3: Change(rate=0.5), 6: Change(rate=0.5)},
    "back": {2: "mark", 4: Change(True, rate=0.5, share=0.7), 7: Change(True)},
    "to the start": {5: Change(back=True), 8: "rollback"},
}


def run(
    trained: Any, folder: Path, script: dict[int, Action], cut: int | None = None, **extra: Any
) -> Any:
    settings = fits.settings(epochs=1, tokens_per_step=50, **extra)
    return train(trained, source(**extra), fits.nll, settings, seed=7, scratch=folder / "s",
                 metrics=folder / "m.jsonl", on_step=answers(script, cut))  # fmt: skip


@pytest.mark.parametrize(
    ("name", "cut"),
    [("replay", 3), ("replay", 5), ("rate", 6), ("back", 4), ("back", 6), ("to the start", 5)],
)
def test_changed_fit_resumes_bit_for_bit(name: str, cut: int, tmp_path: Path) -> None:
    # cut at a change, between two, and after both.
    script, extra = SCRIPTS[name], {"extras": {"ema": 0.5}} if name == "back" else {}
    whole, again = fits.model(), fits.model(seed=99)
    run(whole, tmp_path / "a", script, **extra)
    with pytest.raises(Interrupted, match=f"after step {cut} of"):
        run(fits.model(), tmp_path / "b", script, cut, **extra)
    run(again, tmp_path / "b", script, **extra)
    assert fits.same(fits.weights(whole), fits.weights(again))
    assert fits.logged(tmp_path / "a/m.jsonl") == fits.logged(tmp_path / "b/m.jsonl")
    groups, state = fits.saved(tmp_path / "a/s")
    others, other = fits.saved(tmp_path / "b/s")
    assert all(fits.same(groups[group], others[group]) for group in groups)
    assert state == other


def test_rates_to_come_are_scaled_once_for_each_change(tmp_path: Path) -> None:
    plain = run(fits.model(), tmp_path / "a", {}).history
    changed = run(fits.model(), tmp_path / "b", SCRIPTS["rate"]).history
    factors = [row["learning_rate"] / old["learning_rate"]
               for row, old in zip(changed, plain, strict=True)]  # fmt: skip
    assert factors == pytest.approx([1.0] * 3 + [0.5] * 3 + [0.25] * (len(plain) - 6))


def test_going_back_puts_back_the_marked_weights_and_forgets_momentum() -> None:
    model = fits.model(attention_dropout=0.0)
    seen: dict[int, Any] = {}

    def watch(info: StepInfo) -> Action | None:
        seen[info.step] = fits.weights(model)
        return {2: "mark", 4: Change(back=True)}.get(info.step)

    def nothing(model: Any, batch: Batch) -> Loss:
        found = fits.nll(model, batch)
        return Loss(found.total * (0 if 4 in seen else 1), found.count, found.metrics)

    settings = fits.settings(epochs=1, tokens_per_step=50, weight_decay=0)
    train(model, source(), nothing, settings, seed=7, on_step=watch)
    # Without a gradient only momentum could move a weight: the fit ends where it was marked.
    assert not fits.same(seen[2], seen[4])
    assert fits.same(seen[2], fits.weights(model))


def test_what_a_watch_is_told_of_the_past_survives_an_interruption(tmp_path: Path) -> None:
    told: list[list[int]] = []

    def watch(info: StepInfo) -> None:
        told.append([row["step"] for row in info.history] + [info.step])
        if info.step == 4 and len(told) == 4:
            fits.interrupt_at(4)(info)

    arguments = {"scratch": tmp_path, "metrics": tmp_path / "m.jsonl", "on_step": watch}
    with pytest.raises(Interrupted):
        fits.fit(fits.model(), **arguments)
    fits.fit(fits.model(), **arguments)
    assert told == [list(range(1, step + 1)) for step in range(1, 13)]
