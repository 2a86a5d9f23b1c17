from __future__ import annotations

from tests import tiny

from burnish.records import Prompt
from burnish.rollouts import collect
from burnish.rollouts.collect import reply_seed
from burnish.sampling import LocalSampler, Sampling

PROMPTS = [
    Prompt(id=f"p{i}", messages=[{"role": "user", "content": text}], topic="t", lang="en")
    for i, text in enumerate(["hello", "the sea", "an ant", "a"])
]
TWO = [Sampling(temperature=0.5, max_new_tokens=6), Sampling(temperature=1.0, max_new_tokens=6)]


def test_each_prompt_at_each_temperature() -> None:
    tokenizer = tiny.tokenizer()
    sampler = LocalSampler(tiny.model(), tokenizer)
    counts: list[int] = []
    found = collect(sampler, PROMPTS, TWO, per_prompt=3, seed=1, progress=counts.append)
    assert [r.prompt_id for r in found] == [f"p{i}" for i in range(4) for _ in range(6)]
    assert [r.temperature for r in found[:6]] == [0.5] * 3 + [1.0] * 3
    assert sum(counts) == 24
    assert len({r.id for r in found}) == len({r.seed for r in found}) == 24
    one = found[7]
    assert (one.parents, one.topic, one.synthetic) == (("p1",), "t", True)
    assert len(one.tokens) == len(one.logprobs)
    assert one.completion == tokenizer.decode(one.tokens, skip_special_tokens=True)


def test_a_reply_does_not_depend_on_the_other_prompts() -> None:
    sampler = LocalSampler(tiny.model(), tiny.tokenizer())
    found = collect(sampler, PROMPTS, TWO, per_prompt=2, seed=1)
    alone = collect(sampler, PROMPTS[2:3], TWO, per_prompt=2, seed=1)
    assert [r.tokens for r in alone] == [r.tokens for r in found if r.prompt_id == "p2"]
    other = collect(sampler, PROMPTS[2:3], TWO, per_prompt=2, seed=2)
    assert [r.tokens for r in other] != [r.tokens for r in alone]


def test_seeds() -> None:
    seeds = {reply_seed(s, p, i) for s in range(3) for p in ("a", "b", "1") for i in range(12)}
    assert len(seeds) == 3 * 3 * 12
    assert all(0 <= seed < 2**63 for seed in seeds)
