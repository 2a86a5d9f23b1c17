"""fit.sft: what is trained on and what is measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.stages.fits import context, saved_model

from burnish.engine import DatasetSource, TrainSettings
from burnish.records import Document, Example, Tier
from burnish.stages.base import Inputs
from burnish.stages.fit import sft
from burnish.store import tables


def first_step(folder: Path, smoothing: float) -> dict[str, float]:
    """The first row of the metrics of a fit at learning rate (nearly) 0."""
    folder.mkdir()
    messages = [
        [{"role": "user", "content": f"the {n}"}, {"role": "assistant", "content": "hello"}]
        for n in range(12)
    ]
    records = [Example(id=str(n), messages=turns) for n, turns in enumerate(messages)]
    tables.write(folder / "data.jsonl", records)
    inputs = Inputs({"model": [saved_model(folder)], "data": [str(folder / "data.jsonl")]})
    train = TrainSettings(max_steps=1, learning_rate=1e-12)
    config = sft.Config(model="m", data=["d"], heldout=0.4, label_smoothing=smoothing, train=train)
    sft.run(config, inputs, context(folder))
    row: dict[str, float] = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    return row


def test_the_training_loss_is_smoothed_and_the_held_out_one_is_not(tmp_path: Path) -> None:
    sharp, smooth = first_step(tmp_path / "sharp", 0.0), first_step(tmp_path / "smooth", 0.5)
    assert sharp["loss"] == pytest.approx(sharp["nll"])
    assert smooth["nll"] == pytest.approx(sharp["nll"])
    assert abs(smooth["loss"] - sharp["loss"]) > 0.05
    assert smooth["eval_loss"] == pytest.approx(sharp["eval_loss"], abs=1e-5)


def run_curriculum(
    folder: Path, monkeypatch: pytest.MonkeyPatch, curriculum: bool | dict[Tier, int]
) -> list[list[str]]:
    """Four examples of each tier and general text as a curriculum: tiers by window."""
    sources: list[DatasetSource] = []

    def kept(*given: Any, **more: Any) -> DatasetSource:
        sources.append(DatasetSource(*given, **more))
        return sources[-1]

    monkeypatch.setattr(sft, "DatasetSource", kept)
    records = [
        Example(
            id=f"{TIERS[n % 3]}-{n}",
            tier=TIERS[n % 3],
            messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": str(n)}],
        )
        for n in range(12)
    ]
    general = [Document(id=f"general-{n}", text="the an hello " * 3) for n in range(12)]
    tables.write(folder / "data.jsonl", records)
    tables.write(folder / "general.jsonl", general)
    inputs = Inputs({
        "model": [saved_model(folder)],
        "data": [str(folder / "data.jsonl")],
        "general": [str(folder / "general.jsonl")],
    })  # fmt: skip
    train = TrainSettings(epochs=1, segments_per_step=3, learning_rate=1e-9)
    config = sft.Config(
        model="m", data=["d"], general=["g"], general_share=1.0, heldout=0, curriculum=curriculum,
        train=train,
    )  # fmt: skip
    sft.run(config, inputs, context(folder))
    source = sources[0]
    return [
        [id.split("-")[0] for batch in source.window(step) or [] for id in batch.ids]
        for step in range(source.steps)
    ]


TIERS: list[Tier] = ["expert", "bulk", "selected"]


def test_a_curriculum_goes_from_bulk_to_expert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [name for window in run_curriculum(tmp_path, monkeypatch, True) for name in window]
    taught = [name for name in seen if name in TIERS]
    assert len(taught) == 12
    # windows of three units: tiers may only overlap inside one
    firsts = {tier: taught.index(tier) for tier in TIERS}
    lasts = {tier: len(taught) - 1 - taught[::-1].index(tier) for tier in TIERS}
    assert firsts["bulk"] < firsts["selected"] < firsts["expert"]
    assert lasts["bulk"] <= firsts["selected"] + 2
    assert lasts["selected"] <= firsts["expert"] + 2
    # general text is in every part of the epoch
    others = [place for place, name in enumerate(seen) if name not in TIERS]
    third = len(seen) / 3
    assert {int(place // third) for place in others} == {0, 1, 2}


def test_a_curriculum_sets_the_window_of_each_tier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = run_curriculum(tmp_path, monkeypatch, {"bulk": 4, "expert": 1})
    # four examples of each tier, general text divided evenly: the first tiers have one row more
    general, more = divmod(sum(map(len, windows)) - 12, 3)
    sizes = {"bulk": 4, "selected": 3, "expert": 1}  # selected has train.segments_per_step
    expected = []
    for place, tier in enumerate(("bulk", "selected", "expert")):
        full, rest = divmod(4 + general + (place < more), sizes[tier])
        expected += [sizes[tier]] * full + ([rest] if rest else [])
    assert [len(window) for window in windows] == expected
    taught = [[name for name in window if name in TIERS] for window in windows]
    assert all(len(set(names)) <= 1 for names in taught)
    order = [name for names in taught for name in names]
    assert order == ["bulk"] * 4 + ["selected"] * 4 + ["expert"] * 4


@pytest.mark.parametrize(
    ("curriculum", "message"),
    [({"bulk": 0}, "greater than 0"), ({"gold": 3}, "expert"), ({}, "at least 1"),
     ({"bulk": 4}, "expected one of the two")],
)  # fmt: skip
def test_curricula_that_cannot_be(curriculum: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sft.Config(model="m", data=["d"], curriculum=curriculum,
                   train=TrainSettings(tokens_per_step=99))  # fmt: skip
