"""Replies of a model in this process, kept as they come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from burnish.sampling import Completion, Request, Sampling
from burnish.sampling.journal import AT_ONCE, JournalledSampler
from burnish.sampling.sampler import Progress


class Counting:
    """Replies with the question and a number that only grows; fails when told to."""

    def __init__(self, fail_after: int = 10**9) -> None:
        self.replies, self.fail_after = 0, fail_after

    def complete(
        self, requests: Sequence[Request], sampling: Sampling, progress: Progress | None = None
    ) -> list[Completion]:
        if self.replies >= self.fail_after:
            raise KeyboardInterrupt
        self.replies += len(requests)
        if progress is not None:
            progress(len(requests))
        return [
            Completion([1], [-1.0], f"{one.messages[0]['content']}-{one.seed}", "stop")
            for one in requests
        ]


def asked(count: int, seed: int = 0) -> list[Request]:
    return [Request([{"role": "user", "content": f"q{n}"}], seed, f"r{n}") for n in range(count)]


def test_what_is_in_the_journal_is_not_asked_again(tmp_path: Path) -> None:
    #
    path, sampling = tmp_path / "j.jsonl", Sampling()
    model = Counting(fail_after=AT_ONCE)
    with pytest.raises(KeyboardInterrupt):
        JournalledSampler(model, "m", path).complete(asked(AT_ONCE + 5), sampling)
    assert model.replies == AT_ONCE
    with path.open("ab") as file:
        file.write(b'{"key": "torn')
    again = Counting()
    told: list[int] = []
    replies = JournalledSampler(again, "m", path).complete(
        asked(AT_ONCE + 5), sampling, told.append
    )
    assert [reply.text for reply in replies] == [f"q{n}-0" for n in range(AT_ONCE + 5)]
    assert (again.replies, sum(told)) == (5, AT_ONCE + 5)
    assert replies[0].tokens == replies[-1].tokens == [1]
    assert replies[0].logprobs == replies[-1].logprobs == []


def test_another_model_seed_or_sampling_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    model = Counting()
    JournalledSampler(model, "m", path).complete(asked(2), Sampling())
    JournalledSampler(model, "m", path).complete(asked(2), Sampling())
    assert model.replies == 2
    JournalledSampler(model, "other", path).complete(asked(2), Sampling())
    JournalledSampler(model, "m", path).complete(asked(2, seed=1), Sampling())
    JournalledSampler(model, "m", path).complete(asked(2), Sampling(temperature=0.1))
    assert model.replies == 8


def test_equal_requests_have_one_reply(tmp_path: Path) -> None:
    model = Counting()
    replies = JournalledSampler(model, "m", tmp_path / "j").complete(asked(1) * 3, Sampling())
    assert (len(replies), model.replies) == (3, 1)
