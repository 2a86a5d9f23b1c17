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


def test_a_curriculum_goes_from_bulk_to_expert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[DatasetSource] = []

    def kept(*given: Any, **more: Any) -> DatasetSource:
        sources.append(DatasetSource(*given, **more))
        return sources[-1]

    monkeypatch.setattr(sft, "DatasetSource", kept)
    tiers: list[Tier] = ["expert", "bulk", "selected"]
    records = [
        Example(
            id=f"{tiers[n % 3]}-{n}",
            tier=tiers[n % 3],
            messages=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": str(n)}],
        )
        for n in range(12)
    ]
    general = [Document(id=f"general-{n}", text="the an hello " * 3) for n in range(12)]
    tables.write(tmp_path / "data.jsonl", records)
    tables.write(tmp_path / "general.jsonl", general)
    inputs = Inputs({
        "model": [saved_model(tmp_path)],
        "data": [str(tmp_path / "data.jsonl")],
        "general": [str(tmp_path / "general.jsonl")],
    })  # fmt: skip
    train = TrainSettings(epochs=1, segments_per_step=3, learning_rate=1e-9)
    config = sft.Config(
        model="m", data=["d"], general=["g"], general_share=1.0, heldout=0, curriculum=True,
        train=train,
    )  # fmt: skip
    sft.run(config, inputs, context(tmp_path))
    source = sources[0]
    seen = [
        id.split("-")[0]
        for step in range(source.steps)
        for batch in source.window(step) or []
        for id in batch.ids
    ]
    taught = [name for name in seen if name in tiers]
    assert len(taught) == 12
    # windows of three units: tiers may only overlap inside one
    firsts = {tier: taught.index(tier) for tier in tiers}
    lasts = {tier: len(taught) - 1 - taught[::-1].index(tier) for tier in tiers}
    assert firsts["bulk"] < firsts["selected"] < firsts["expert"]
    assert lasts["bulk"] <= firsts["selected"] + 2
    assert lasts["selected"] <= firsts["expert"] + 2
    # general text is in every part of the epoch
    others = [place for place, name in enumerate(seen) if name not in tiers]
    third = len(seen) / 3
    assert {int(place // third) for place in others} == {0, 1, 2}
