"""Tokens are counted where they are sampled, here and by a served model."""

from __future__ import annotations

import json
from typing import Any

from tests import tiny
from tests.serving import replies, serving

from burnish.sampling import EndpointSettings, LocalSampler, Request, Sampling, ServedSampler
from burnish.sampling.usage import counted, current, tokens_of

ASKED = [Request([{"role": "user", "content": text}], 0, text) for text in ("12345678", "9")]


def test_local_replies_are_counted_in_the_innermost_block() -> None:
    sampler = LocalSampler(tiny.model(), tiny.tokenizer())
    with counted() as outer:
        with counted() as inner:
            found = sampler.complete(ASKED, Sampling(max_new_tokens=5))
        assert inner.sampled == sum(len(reply.tokens) for reply in found) > 0
        assert outer.sampled == 0
    sampler.complete(ASKED, Sampling(max_new_tokens=5))
    assert (inner.sampled, current().sampled) == (sum(len(r.tokens) for r in found), 0)


def test_a_served_model_says_what_it_counted_or_bytes_do() -> None:
    def answer(usage: dict[str, Any] | None) -> bytes:
        choice = {"message": {"content": "abcdefghi"}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], **({"usage": usage} if usage else {})}).encode()

    told = answer({"prompt_tokens": 30, "completion_tokens": 7})
    with serving(replies(told), replies(answer(None))) as server:
        sampler = ServedSampler(server.ref, EndpointSettings(concurrency=1))
        with counted() as used:
            sampler.complete(ASKED, Sampling())
            sampler.complete(ASKED, Sampling())  # known already: asked, and paid, once
    # 30 as said and "9" in bytes; 7 as said and nine bytes at four a token.
    assert used.served == {"m": (31, 10)}


def test_nonsense_of_a_server_is_not_believed() -> None:
    for usage in (None, [], {"prompt_tokens": -1, "completion_tokens": True}):
        assert tokens_of({"usage": usage}, "12345", "") == (2, 0)
