"""Scores of a judge in this process are kept as they come."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from burnish.rewards.candidates import Candidate
from burnish.rewards.judge import Judge, load_rubric
from burnish.rewards.scorers import Resources, ScorerSettings, find
from burnish.rewards.scoring import ScoreCache, compare_pairs, score_candidates
from burnish.sampling import Completion

AT_ONCE, BATCHES = 4, 3


class Dying:
    """A model in this process that answers each form and dies in its ``last``-th batch."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.batches, self.asked = last, 0, 0

    def complete(self, requests: Sequence[Any], sampling: Any, progress: Any = None) -> Any:
        self.batches += 1
        if self.batches == self.last:
            raise KeyboardInterrupt
        self.asked += len(requests)
        return [
            Completion([], [], _verdict(one.messages[-1]["content"]), "stop") for one in requests
        ]


def _verdict(prompt: str) -> str:
    field = re.findall(r'"(score|winner)": N', prompt)[-1]
    return json.dumps({"key": re.findall(r'"key": "(\w{16})"', prompt)[-1], field: 1})


def replies(count: int) -> list[Candidate]:
    asked = [{"role": "user", "content": "Which town?"}]
    return [Candidate(f"r{n}", asked, f"It is town {n}.") for n in range(count)]


def grade(judge: Judge, cache: ScoreCache) -> Any:
    resources = Resources(None, None, judge=judge)
    found = replies(AT_ONCE * BATCHES)
    return score_candidates(found, [find("judge")], ScorerSettings(), resources, cache)


def compare(judge: Judge, cache: ScoreCache) -> Any:
    found = replies(2 * AT_ONCE * BATCHES)
    half = AT_ONCE * BATCHES
    return compare_pairs(list(zip(found[:half], found[half:], strict=True)), judge, cache)


@pytest.mark.parametrize(("ask", "each"), [(grade, 1), (compare, 2)])
def test_a_kill_costs_one_batch_of_a_judge(
    ask: Callable[[Judge, ScoreCache], Any], each: int, tmp_path: Path
) -> None:
    def judge(last: int | None = None) -> tuple[Judge, Dying]:
        sampler = Dying(last)
        return Judge(sampler, load_rubric(), "here", at_once=AT_ONCE), sampler

    dying, _ = judge(last=BATCHES)
    with pytest.raises(KeyboardInterrupt):
        ask(dying, ScoreCache(tmp_path / "scores.sqlite"))
    again, sampler = judge()
    found = ask(again, ScoreCache(tmp_path / "scores.sqlite"))
    assert sampler.asked == each * AT_ONCE  # what came of the batches before was kept
    whole, sampler = judge()
    assert ask(whole, ScoreCache()) == found
    assert sampler.batches == BATCHES
