"""The losses of PPO and GRPO on credited replies, and the reference they compare with."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests import tiny
from torch import Tensor

from burnish.models.adapters import LoraSettings, attach
from burnish.models.forward import TokenScores, token_logprobs
from burnish.models.heads import Critic, ScalarHead
from burnish.models.load import Loaded
from burnish.sampling import Sampling
from burnish.stages import policy
from burnish.stages.fit import grpo, ppo
from burnish.text.batches import Batch, Segment, pack

# Two replies, of two tokens and of one; the policy has not moved, so that every ratio is 1.
LOGPROBS = [-1.0, -2.0, -3.0]
STREAMS = {
    "old_logprobs": LOGPROBS,
    "ref_logprobs": [-1.5, -2.0, -2.0],
    "advantages": [1.0, 3.0, -2.0],
    "old_values": [0.0, 0.0, 0.0],
    "returns": [1.0, 2.0, 3.0],
}
IMPORTANCE = [0.5, 1.0, 2.0]


def batch(**more: list[float]) -> Batch:
    streams = STREAMS | more
    cuts = [("a", slice(0, 2), 3), ("b", slice(2, 3), 2)]
    return pack(
        [
            Segment(
                [1] * length,
                [False] + [True] * (length - 1),
                name,
                {stream: [0.0, *values[part]] for stream, values in streams.items()},
            )
            for name, part, length in cuts
        ]
    )


@pytest.fixture
def leaf(monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Stands in for the model: its log-probabilities, that take a gradient."""
    logprobs = torch.tensor(LOGPROBS, requires_grad=True)
    scores = TokenScores(logprobs, None, torch.zeros(5, 4))
    for module in (grpo, ppo):
        monkeypatch.setattr(module, "token_logprobs", lambda *_, **__: scores)
    return logprobs


def total(found: Any, leaf: Tensor) -> tuple[float, list[float]]:
    (slope,) = torch.autograd.grad(found.total, leaf)
    return found.total.item(), slope.tolist()


CONFIG = {"model": "m", "prompts": ["p"]}


@pytest.mark.parametrize("kind", ["k2", "k3"])
def test_grpo_adds_the_divergence_to_the_policy_term(kind: str, leaf: Tensor) -> None:
    # C-23: at ratio 1 a token's loss is -A; k3 = x - 1 - log x and k2 = (log x)^2 / 2.
    config = grpo.Config(**CONFIG, kl_coef=0.5, kl=kind)
    gaps = [r - p for p, r in zip(LOGPROBS, STREAMS["ref_logprobs"], strict=True)]
    values = {"k2": [g * g / 2 for g in gaps], "k3": [math.exp(g) - 1 - g for g in gaps]}[kind]
    slopes = {"k2": [-g for g in gaps], "k3": [1 - math.exp(g) for g in gaps]}[kind]
    value, slope = total(grpo.loss(None, batch(), config), leaf)
    assert value == pytest.approx(
        (-1 - 3) / 2 + 2 + 0.5 * ((values[0] + values[1]) / 2 + values[2])
    )
    expected = [(-1 + 0.5 * slopes[0]) / 2, (-3 + 0.5 * slopes[1]) / 2, 2 + 0.5 * slopes[2]]
    assert slope == pytest.approx(expected, abs=1e-6)


def test_importance_weighs_the_policy_term_and_not_the_divergence(leaf: Tensor) -> None:
    # C-24
    config = grpo.Config(**CONFIG, kl_coef=0.0)
    found = grpo.loss(None, batch(importance=IMPORTANCE), config)
    assert total(found, leaf)[0] == pytest.approx((-0.5 * 1 - 1.0 * 3) / 2 + 2.0 * 2)
    apart = [
        grpo.loss(None, batch(**more), grpo.Config(**CONFIG, kl_coef=coefficient)).total.item()
        for more in ({}, {"importance": IMPORTANCE})
        for coefficient in (0.0, 0.5)
    ]
    assert apart[1] - apart[0] == pytest.approx(apart[3] - apart[2])


def test_importance_weighs_ppos_policy_term_and_not_its_values(leaf: Tensor) -> None:
    # C-24: half the squared errors 1, 4, 9 at a head that says 0.
    config = ppo.Config(**CONFIG, critic={"coef": 0.1})
    critic = Critic(ScalarHead(4))
    plain = ppo.loss(None, batch(), critic, config)
    assert total(plain, leaf) == (pytest.approx(-1 - 3 + 2 + 0.1 * 7), pytest.approx([-1, -3, 2]))
    weighed = ppo.loss(None, batch(importance=IMPORTANCE), critic, config)
    assert total(weighed, leaf) == (
        pytest.approx(-0.5 - 3 + 4 + 0.1 * 7),
        pytest.approx([-0.5, -3, 4]),
    )


@pytest.mark.parametrize("lora", [False, True])
def test_the_reference_has_no_dropout_whatever_the_policys_mode(lora: bool) -> None:
    # C-10, C-11
    model = tiny.model(attention_dropout=0.5)
    rows = pack([Segment([1, 70, 71, 72, 2], [True] * 5)])
    expected = token_logprobs(model, rows, 0.7).logprobs.detach()
    if lora:
        attach(model, LoraSettings(r=4, alpha=8))
    else:
        model.train()
    score = policy.reference_scorer(
        Loaded(model, tiny.tokenizer(), "", None), Sampling(temperature=0.7)
    )
    assert torch.equal(score(rows)["ref_logprobs"], expected)
