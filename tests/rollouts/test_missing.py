"""Replies without a reward are left out: the others' credit is as if they had never been."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch

from burnish.config import InputError
from burnish.rollouts.credit import FIXED, GrpoCredit, PpoCredit, Reply, grpo_segments, ppo_segments
from burnish.rollouts.missing import learnt_from, rewarded

GRPO = partial(grpo_segments, settings=GrpoCredit())
PPO = partial(ppo_segments, settings=PpoCredit())
MISSING = math.nan


def reply(name: str, prompt_id: str, reward: float) -> Reply:
    torch.manual_seed(len(name) + ord(name[0]))
    scores = {key: -torch.rand(2) for key in ("logprobs", "ref_logprobs", "values")}
    return Reply(name, prompt_id, [7, 8], [20, 21], reward, True, scores)


GROUP = [
    reply("a", "p", 1.0), reply("b", "p", MISSING), reply("c", "p", 0.0),
    reply("d", "q", MISSING), reply("e", "q", 5.0),
]  # fmt: skip


@pytest.mark.parametrize("credit", [GRPO, PPO])
def test_the_rest_of_a_group_is_credited_without_it(credit: object) -> None:
    found, missing = learnt_from(GROUP, credit, FIXED)  # type: ignore[arg-type]
    expected = credit([GROUP[0], GROUP[2]], controls=FIXED)  # type: ignore[operator]
    assert missing == 3
    assert [segment.id for segment in found] == ["a", "b", "c", "d", "e"]
    assert [found[0], found[2]] == expected
    for silent in (found[1], found[3], found[4]):
        assert not any(silent.mask)
        assert set(silent.per_token) == set(expected[0].per_token)
        assert all(set(values) == {0.0} for values in silent.per_token.values())


def test_a_group_of_one_compares_with_nothing_but_a_lone_reply_may_count() -> None:
    assert rewarded(GROUP) == [True, False, True, False, False]
    assert rewarded([reply("a", "p", 1.0), reply("b", "q", MISSING)]) == [True, False]


def test_with_every_reward_there_nothing_is_left_out() -> None:
    replies = [reply("a", "p", 1.0), reply("c", "p", 0.0)]
    assert learnt_from(replies, GRPO, FIXED) == (GRPO(replies), 0)


def test_a_phase_without_any_reward_is_refused() -> None:
    with pytest.raises(InputError, match=r"no reply of a phase \(2\) got a reward"):
        learnt_from([GROUP[3], GROUP[4]], GRPO, FIXED)
