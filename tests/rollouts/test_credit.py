from __future__ import annotations

import pytest
import torch
from torch import Tensor

from burnish.rollouts.credit import (
    GrpoCredit,
    PpoCredit,
    Reply,
    grpo_segments,
    pair_segments,
    ppo_segments,
    token_rewards,
)
from burnish.text.batches import pack


def reply(
    reward: float, prompt_id: str = "p", finished: bool = True, **scores: list[float]
) -> Reply:
    length = len(next(iter(scores.values())))
    found = {name: torch.tensor(values) for name, values in scores.items()}
    return Reply("r", prompt_id, [7, 8, 9], list(range(20, 20 + length)), reward, finished, found)


def random_reply(length: int, seed: int, **changes: object) -> Reply:
    torch.manual_seed(seed)
    names = ("logprobs", "ref_logprobs", "values")
    scores: dict[str, Tensor] = {name: -torch.rand(length) for name in names}
    plain = {"reward": float(seed), "finished": True} | changes
    return Reply(f"r{seed}", f"p{seed}", [7] * (seed + 1), [9] * length, scores=scores, **plain)


@pytest.mark.parametrize("finished", [True, False])
def test_rewards_sum_to_score_less_divergence(finished: bool) -> None:
    # C-16
    settings = PpoCredit(kl_coef=0.3, missing_eos_penalty=2.0)
    one = reply(
        1.5, finished=finished, logprobs=[-1.0, -2.0, -0.5], ref_logprobs=[-1.5, -1.0, -0.5]
    )
    rewards = token_rewards(one, settings)
    # k1 is 0.5, -1, 0; the outcome 1.5, or 1.5 - 2 where the reply was cut off.
    score = 1.5 if finished else -0.5
    assert rewards.tolist() == pytest.approx([-0.15, 0.3, score])
    assert rewards.sum().item() == pytest.approx(score - 0.3 * (-0.5))


def test_score_stands_inside_the_value_mask() -> None:
    # C-16: with gamma = lam = 1 and no divergence the return at every trained token is the score.
    settings = PpoCredit(kl_coef=0.0, lam=1.0, whiten=None)
    replies = [random_reply(4, 1), random_reply(1, 2), random_reply(7, 3)]
    batch = pack(ppo_segments(replies, settings))
    assert batch.targets.sum().item() == 12
    scores = torch.tensor([1.0] * 4 + [2.0] + [3.0] * 7)
    assert torch.allclose(batch.at_targets("returns"), scores, atol=1e-6)
    values = torch.cat([one.scores["values"] for one in replies])
    assert torch.allclose(batch.at_targets("advantages"), scores - values, atol=1e-6)
    assert torch.equal(batch.at_targets("old_values"), values)
    assert torch.equal(
        batch.at_targets("old_logprobs"), torch.cat([one.scores["logprobs"] for one in replies])
    )


def test_advantages_by_hand() -> None:
    # C-14: v = .5 .6 .7 .8 and a score of 1 at the end.
    one = reply(1.0, logprobs=[0.0] * 4, ref_logprobs=[0.0] * 4, values=[0.5, 0.6, 0.7, 0.8])
    batch = pack(ppo_segments([one], PpoCredit(kl_coef=0.0, whiten=None)))
    assert batch.at_targets("advantages").tolist() == pytest.approx([0.456725, 0.3755, 0.29, 0.2])


def test_whitening_is_over_the_phase_and_leaves_returns() -> None:
    # C-17
    replies = [random_reply(4, 1), random_reply(1, 2), random_reply(7, 3)]
    plain = pack(ppo_segments(replies, PpoCredit(whiten=None)))
    white = pack(ppo_segments(replies, PpoCredit(whiten="unbiased")))
    found = white.at_targets("advantages")
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.var(unbiased=True).item() == pytest.approx(1, abs=1e-4)
    assert torch.equal(plain.at_targets("returns"), white.at_targets("returns"))


def test_order_of_replies_does_not_matter() -> None:
    replies = [random_reply(4, 1), random_reply(1, 2), random_reply(7, 3)]
    forward = ppo_segments(replies, PpoCredit())
    backward = ppo_segments(replies[::-1], PpoCredit())[::-1]
    for first, second in zip(forward, backward, strict=True):
        assert first.id == second.id
        assert first.per_token["advantages"] == pytest.approx(
            second.per_token["advantages"], abs=1e-5
        )


def test_group_advantages_reach_every_token() -> None:
    replies = [
        reply(1.0, "a", logprobs=[-1.0, -2.0]),
        reply(0.0, "b", logprobs=[-1.0]),
        reply(3.0, "a", logprobs=[-0.5]),
        reply(0.0, "b", logprobs=[-1.0] * 3),
    ]
    segments = grpo_segments(replies, GrpoCredit(advantage="dr_grpo"))
    # Group a: mean 2; group b: equal rewards teach nothing.
    advantages = [list(s.per_token["advantages"])[3:] for s in segments]
    assert advantages == [[-1.0, -1.0], [0.0], [1.0], [0.0, 0.0, 0.0]]
    assert list(segments[0].per_token["old_logprobs"]) == [0, 0, 0, -1.0, -2.0]
    assert "ref_logprobs" not in segments[0].per_token
    cut = [replies[0], reply(3.0, "a", finished=False, logprobs=[-0.5])]
    settings = GrpoCredit(advantage="dr_grpo", missing_eos_penalty=4.0)
    assert grpo_segments(cut, settings)[1].per_token["advantages"][-1] == pytest.approx(-1.0)
    with pytest.raises(ValueError, match="group of one"):
        grpo_segments(replies[:2], GrpoCredit())


def written(reward: float, prompt_id: str, tokens: list[int], finished: bool = True) -> Reply:
    scores = {"ref_logprobs": torch.full((len(tokens),), -1.5)}
    return Reply(f"{prompt_id}{reward}", prompt_id, [7, 8], tokens, reward, finished, scores)


def test_the_best_and_the_worst_reply_to_a_prompt_make_a_pair() -> None:
    # Algorithm 1 of Guo et al. 2024 with k replies; a, c and d have a pair, b and e do not.
    replies = [
        written(1.0, "a", [20]), written(3.0, "a", [21, 22]), written(2.0, "a", [23]),
        written(1.0, "b", [20]), written(1.0, "b", [21]), written(1.0, "b", [22]),
        written(5.0, "c", [20]), written(2.0, "c", [21]), written(5.0, "c", [22]),
        written(2.0, "d", [20], finished=False), written(1.0, "d", [21]), written(1.5, "d", [22]),
        written(1.0, "e", [20]), written(1.0 - 1e-7, "e", [20]), written(1.0, "e", [20]),
    ]  # fmt: skip
    rows = pair_segments(replies, missing_eos_penalty=1.5)
    marks = [0, 0, 0, 0, 0, 0, 3, -3, 0, -4, 0, 4, 0, 0, 0]
    marks[0:3] = [-1, 1, 0]
    for row, reply, mark in zip(rows, replies, marks, strict=True):
        length = len(reply.tokens)
        assert list(row.per_token["pair"]) == [0, 0] + [mark] * length
        assert list(row.per_token["ref_logprobs"]) == [0, 0] + [-1.5] * length
        assert list(row.mask) == [False, False] + [mark != 0] * length
