"""C-44: DPO and the reward model learn a rule from 50 pairs and hold to it on pairs they never saw;
with the wrong sign they learn its opposite."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests import tiny
from torch import Tensor

from burnish.engine import DatasetSource, TrainSettings, train
from burnish.engine.optim import named_trainable
from burnish.models.heads import ScalarHead
from burnish.models.load import Loaded
from burnish.objectives import Loss
from burnish.records import Preference
from burnish.rewards.reward_model import head_outputs
from burnish.stages import training
from burnish.stages.fit import dpo, reward
from burnish.stages.reference import with_reference
from burnish.text.batches import Batch, Segment

SETTINGS = TrainSettings(epochs=4, learning_rate=5e-3, segments_per_step=10)
Units = list[list[Segment]]


def pairs(count: int, seed: int) -> list[Preference]:
    """The better reply has more of the letter e than of the letter o."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        good, bad = ("".join(draw.choices(letters, k=5)) for letters in ("eeeot", "oooet"))
        asked = {"role": "user", "content": f"the {draw.randrange(1000)}"}
        made.append(
            Preference(
                id=f"p{seed}-{number}",
                prompt=[asked],
                chosen=[{"role": "assistant", "content": good}],
                rejected=[{"role": "assistant", "content": bad}],
            )
        )
    return made


def prepared(seed: int) -> tuple[Loaded, Units, Units]:
    loaded = Loaded(tiny.model(seed), tiny.tokenizer(), "", None)
    parts = (pairs(50, seed), pairs(60, 100 + seed))
    kept, held = (training.pairs(loaded, part) for part in parts)
    return loaded, kept, held


def fit(
    model: Any, units: Units, loss: Callable[[Any, Batch], Loss], sign: float, **options: Any
) -> None:
    def signed(model: Any, batch: Batch) -> Loss:
        found = loss(model, batch)
        return Loss(sign * found.total, found.count, found.metrics)

    train(model, DatasetSource(units, SETTINGS, seed=0), signed, SETTINGS, seed=0, **options)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dpo(seed: int, sign: float, tmp_path: Any) -> None:
    loaded, kept, held = prepared(seed)
    (units, held) = with_reference(
        loaded.model, [kept, held], 2000, tmp_path, lambda *of: dpo.compared(*of)[0]
    )
    config = dpo.Config(model="m", data=["d"], beta=0.5)

    def loss(model: Any, batch: Batch) -> Loss:
        return dpo.loss(model, batch, config)

    measured = training.measured(loaded.model, held, loss, 2000)
    before = measured()
    fit(loaded.model, units, loss, sign)
    after = measured()
    assert before["eval_margin"] == pytest.approx(0.0, abs=1e-4)  # the policy is the reference
    assert sign * after["eval_margin"] > 1.0
    assert (after["eval_accuracy"] > 0.8) == (sign > 0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_reward_model(seed: int, sign: float) -> None:
    loaded, kept, held = prepared(seed)
    head = ScalarHead(32)
    config = reward.Config(model="m", data=["d"])

    def loss(model: Any, batch: Batch) -> Loss:
        return reward.loss(model, batch, head, config)

    def right() -> Tensor:
        scores = head_outputs(loaded.model, head, held)
        return (scores[0::2] > scores[1::2]).float().mean()

    before = right()
    fit(loaded.model, kept, loss, sign, trainable=named_trainable(model=loaded.model, head=head))
    after = right()
    assert torch.isfinite(before)
    assert after > 0.8 if sign > 0 else after < 0.2
    assert sign * (after - before) > 0.15 or before in (0.0, 1.0)
