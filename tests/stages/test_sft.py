"""fit.sft: what is trained on and what is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.stages.fits import context, saved_model

from burnish.engine import TrainSettings
from burnish.records import Example
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
