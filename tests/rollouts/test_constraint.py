"""C-27: credit under a constraint, what a reply costs, and a fit that is held to its budget."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tests import tiny
from tests.rollouts.test_online import wanted, whole_fit
from torch import Tensor

from burnish.config import InputError
from burnish.models.heads import ScalarHead
from burnish.records import Prompt, Rollout
from burnish.rewards.reward_model import RewardModel
from burnish.rollouts import (
    Constraint,
    ConstraintSettings,
    Controls,
    GrpoCredit,
    PpoCredit,
    Reply,
    constraint,
    grpo_segments,
    pair_segments,
    ppo_segments,
)
from burnish.text.batches import Segment, pack


def reply(reward: float, cost: float, **scores: list[float]) -> Reply:
    found = {name: torch.tensor(values) for name, values in scores.items()}
    count = len(found["logprobs"])
    return Reply("r", "p", [7, 8], list(range(20, 20 + count)), reward, True, found, cost)


def stream(segments: Sequence[Segment], name: str) -> Tensor:
    return pack(segments).at_targets(name)


def test_ppo_weighs_two_critics_advantages() -> None:
    # gamma = lam = 1: an advantage is the sum of what comes, less the value before it. k1 is
    # .5 and 0, half of which is taken from the reward and added to the cost.
    one = reply(
        1.0,
        2.0,
        logprobs=[-1.0, -2.0],
        ref_logprobs=[-1.5, -2.0],
        values=[0.1, 0.2],
        cost_values=[0.3, 0.4],
    )
    settings = PpoCredit(kl_coef=0.5, lam=1.0, whiten=None)
    found = ppo_segments([one], settings, controls=Controls(3.0))
    # A_r = .75 - .1, 1 - .2; A_c = 2.25 - .3, 2 - .4; (A_r - 3 A_c) / 4
    assert stream(found, "advantages").tolist() == pytest.approx([-1.3, -1.0])
    assert stream(found, "returns").tolist() == pytest.approx([0.75, 1.0])
    assert stream(found, "cost_returns").tolist() == pytest.approx([2.25, 2.0])
    assert stream(found, "old_cost_values").tolist() == pytest.approx([0.3, 0.4])
    alone = ppo_segments([one], settings)
    assert stream(alone, "advantages").tolist() == pytest.approx([0.65, 0.8])
    assert "cost_returns" not in alone[0].per_token


@pytest.mark.parametrize("multiplier", [0.2, 1.0, 30.0])
def test_the_divergence_weighs_the_same_whatever_lambda_is(multiplier: float) -> None:
    zero = [0.0, 0.0]
    one = reply(
        0.0, 0.0, logprobs=[-1.0, -2.0], ref_logprobs=[-1.5, -4.0], values=zero, cost_values=zero
    )
    settings = PpoCredit(kl_coef=0.5, lam=1.0, whiten=None)
    found = ppo_segments([one], settings, controls=Controls(multiplier))
    assert stream(found, "advantages").tolist() == pytest.approx([-1.25, -1.0])


def test_grpo_weighs_the_groups_two_advantages() -> None:
    replies = [reply(1.0, 0.0, logprobs=[-1.0]), reply(3.0, 4.0, logprobs=[-1.0, -1.0])]
    credit = GrpoCredit(advantage="dr_grpo")
    # Rewards are 1 off their mean, costs 2: (-1 + 2) / 2 and (1 - 2) / 2.
    found = grpo_segments(replies, credit, controls=Controls(1.0))
    assert stream(found, "advantages").tolist() == pytest.approx([0.5, -0.5, -0.5])
    alone = grpo_segments(replies, credit)
    assert stream(alone, "advantages").tolist() == pytest.approx([-1, 1, 1])


@pytest.mark.parametrize(("multiplier", "first"), [(None, -1.0), (0.25, -1.0), (1.0, 1.0)])
def test_a_pair_is_ranked_by_reward_less_priced_cost(
    multiplier: float | None, first: float
) -> None:
    # 1 against 3; 1 against 3 - .25 x 4; 1 against 3 - 4
    replies = [reply(1.0, 0.0, logprobs=[-1.0]), reply(3.0, 4.0, logprobs=[-1.0, -1.0])]
    found = pair_segments(replies, controls=Controls(multiplier))
    assert stream(found, "pair").tolist() == [first, -first, -first]


def held(method: str, **settings: Any) -> list[tuple[float, float]]:
    """(cost, lambda) of each phase of a fit in which all that is rewarded costs as much."""
    own = Constraint(ConstraintSettings(cost="refusal", update="plain", **settings), wanted)
    rows = whole_fit(method, phases=6, dropout=0.0, constraint=own)[0].history
    return [(row["cost"], row["lambda"]) for row in rows if row["phase_step"] == 1]


@pytest.mark.parametrize("method", ["ppo", "grpo"])
def test_a_fit_is_held_to_its_budget(method: str) -> None:
    # C-27
    tight = held(method, budget=0.3, initial=1.5, learning_rate=1.0)
    assert tight[0][0] > 0.4
    assert tight[-1][0] < 0.3
    loose = held(method, budget=1.0, initial=0.5, learning_rate=1.0)
    assert loose[-1][0] > 0.6
    for phases, budget in ((tight, 0.3), (loose, 1.0)):
        for (cost, before), (_, after) in pairwise(phases):
            assert (after > before) == (cost > budget)


PROMPTS = [
    Prompt(id=name, messages=[{"role": "user", "content": name}], verify=verify)
    for name, verify in (
        ("a", {"kind": "answer", "answers": ["Paris"]}),
        ("b", {"kind": "refuse"}),
        ("c", None),
    )
]


def said(prompt: Prompt, text: str) -> Rollout:
    return Rollout(
        id=text, prompt_id=prompt.id, prompt=prompt.messages, completion=text, tokens=[1],
        logprobs=[0.0], finish="stop", temperature=1.0, top_p=1.0, seed=0, scores={},
    )  # fmt: skip


def costs(
    settings: dict[str, Any], rollouts: list[Rollout], model: str | None = None
) -> list[float]:
    own = ConstraintSettings(**settings, budget=0.1)
    return list(constraint(own, PROMPTS[:2], model, "cpu").cost(rollouts))


def test_costs_of_rules() -> None:
    first, second = PROMPTS[:2]
    rows = [said(first, "Paris."), said(first, "I don't know."), said(first, "Rome.")]
    rows += [said(second, "I can't help with that."), said(second, "我无法帮助你做这件事。")]
    assert costs({"cost": "verifier"}, rows) == [0.0, 0.5, 1.0, 0.0, 0.0]
    assert costs({"cost": "refusal"}, rows) == [0.0, 0.0, 0.0, 1.0, 1.0]
    with pytest.raises(InputError, match="1 prompts have no verify, such as c"):
        constraint(ConstraintSettings(cost="verifier", budget=0.0), PROMPTS, None, "cpu")


def test_the_cost_of_a_reward_model_is_minus_its_head(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = ScalarHead(32, ("helpful", "harmless"), std=0.5)
    model = RewardModel(tiny.model(), tiny.tokenizer(), head)
    folder = str(model.save(tmp_path / "reward"))
    row = said(PROMPTS[0], "Rome.")
    each = model.score_each([(row.prompt, row.completion)])[0]
    settings = {"cost": "reward_model", "model": "@reward"}
    assert costs(settings, [row], folder) == pytest.approx([-sum(each.values()) / 2])
    found = costs(settings | {"head": "harmless"}, [row], folder)
    assert found == pytest.approx([-each["harmless"]])
    with pytest.raises(InputError, match="no objective 'honest'"):
        costs(settings | {"head": "honest"}, [row], folder)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"cost": "reward_model"}, "model goes with"),
        ({"cost": "refusal", "model": "m"}, "model goes with"),
        ({"cost": "refusal", "head": "harmless"}, "needs model"),
        ({"cost": "refusal", "initial": 2.0, "maximum": 1.0}, "<= maximum"),
        ({"cost": "refusal", "initial": 0.001}, "minimum <= initial"),
        ({"cost": "refusal", "update": "paper"}, "scaled"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        ConstraintSettings(**settings, budget=0.0)
