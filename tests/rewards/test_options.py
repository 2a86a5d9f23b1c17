"""Answers read off the likeliest tokens that a server tells."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import TOKEN, running, saved, served
from tests.serving import replies, said, serving

from burnish.models.load import load_model
from burnish.records import Message
from burnish.rewards.options import Shares, by_likelihood, by_top_tokens
from burnish.sampling import EndpointError, Request, Sampling, ServedSampler
from burnish.sampling.address import KEYS

ASKED: list[list[Message]] = [
    [{"role": "user", "content": "A or B?"}],
    [{"role": "user", "content": "Which one?"}],
]


def place(**tokens: float) -> dict[str, Any]:
    top = [{"token": token, "logprob": math.log(share)} for token, share in tokens.items()]
    return {"token": "x", "logprob": 0.0, "top_logprobs": top}


def shares(*places: dict[str, Any]) -> Shares:
    with serving(replies(said("?", logprobs={"content": list(places)}))) as server:
        [found] = by_top_tokens(ServedSampler(server.ref))(ASKED[:1], ["A", "B"])
    return found


def test_all_tokens_that_spell_an_answer_count() -> None:
    assert shares(place(**{"A": 0.3, " A": 0.1, "b": 0.2, "C": 0.4})) == pytest.approx(
        [2 / 3, 1 / 3]
    )


def test_the_first_place_with_an_answer_counts() -> None:
    found = shares(place(**{"(": 0.9}), place(A=0.2, B=0.6), place(A=0.9, B=0.1))
    assert found == pytest.approx([0.25, 0.75])


def test_an_answer_below_the_list_has_its_last_probability() -> None:
    assert shares(place(A=0.6, x=0.3, y=0.1)) == pytest.approx([6 / 7, 1 / 7])


def test_no_answer_among_them_is_missing() -> None:
    assert shares(place(x=0.6, y=0.1)) is None


def test_a_server_without_them_is_an_error_or_asked_otherwise() -> None:
    def otherwise(asked: Sequence[Any], answers: Sequence[str]) -> list[Shares]:
        return [[0.5, 0.5] for _ in asked]

    with serving(replies(said("A"))) as server:
        found = by_top_tokens(ServedSampler(server.ref), otherwise)(ASKED, ["A", "B"])
        assert found == [[0.5, 0.5]] * 2
        assert len(server.bodies) == 1
        with pytest.raises(EndpointError, match="without log-probabilities"):
            by_top_tokens(ServedSampler(server.ref))(ASKED, ["A", "B"])


def test_burnish_serve_gives_what_the_weights_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved(tmp_path / "one")
    loaded = load_model(folder)
    with running([served("one", folder)], tmp_path) as there:
        monkeypatch.setenv(KEYS, f"{there.url.removeprefix('http://')}={TOKEN}")
        sampler = ServedSampler(f"{there.url}/v1#one")
        for conversation in ASKED:
            [[first, *_]] = sampler.top_tokens([Request(conversation, 0, "one")])
            letter = next(token for token in first if token.isascii() and token.isalpha())
            mark = next(token for token in first if token in "0123456789!?&%$#")
            answers = [letter, mark]
            [here] = by_likelihood(loaded.model, loaded.tokenizer)([conversation], answers)
            [over] = by_top_tokens(sampler)([conversation], answers)
            assert over == pytest.approx(here, abs=1e-4)
        # It has no JSON schemas, and is asked without them.
        formed = Request(ASKED[0], 0, "one", {"type": "object"})
        plain = Request(ASKED[0], 0, "one")
        short = Sampling(temperature=0.0, max_new_tokens=4)
        assert sampler.complete([formed], short) == sampler.complete([plain], short)
