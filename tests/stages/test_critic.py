"""The critic's trunk: shared with the policy, or its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tests import tiny

from burnish.models.load import Loaded
from burnish.stages.fit import ppo
from burnish.text.batches import Batch, Segment, pack

STREAMS = ("old_logprobs", "advantages", "old_values", "returns")


def batch() -> Batch:
    values = {name: [0.0, 0.0, 0.0] for name in STREAMS} | {"returns": [0.0, 2.0, 3.0]}
    return pack([Segment([1, 70, 71], [False, True, True], "a", values)])


def prepared(trunk: str) -> tuple[Any, Any, Any]:
    config = ppo.Config(model="m", prompts=["p"], critic={"trunk": trunk, "clip": None})
    loaded = Loaded(tiny.model(), tiny.tokenizer(), "", None)
    critic = ppo.new_critic(loaded, config)
    torch.nn.init.ones_(critic.head.linear.weight)
    return loaded.model, critic, config


@pytest.mark.parametrize("trunk", ["shared", "own"])
def test_only_a_shared_trunk_is_pulled_by_the_value_loss(trunk: str) -> None:
    # Without advantages the value loss is all there is.
    model, critic, config = prepared(trunk)
    ppo.loss(model, batch(), critic, config).total.backward()
    policy = sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None)
    assert (policy > 0) == (trunk == "shared")
    assert critic.head.linear.weight.grad.abs().sum() > 0
    own = critic.trunk
    assert (own is None) == (trunk == "shared")
    if own is not None:
        assert own.model.layers[0].mlp.up_proj.weight.grad.abs().sum() > 0


def test_both_begin_with_the_same_values() -> None:
    found = []
    for trunk in ("shared", "own"):
        model, critic, config = prepared(trunk)
        found.append(ppo.loss(model, batch(), critic, config).metrics["value_loss"][0])
    torch.testing.assert_close(found[0], found[1])
