from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests import tiny

from burnish.config import InputError
from burnish.models import adapters, attention
from burnish.models.forward import token_logprobs
from burnish.sampling import Completion, Draft, Sampling, generate
from burnish.text.batches import Segment, pack


def prompts(count: int, seed: int = 0, longest: int = 24) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(6, 200, random.integers(1, longest)).tolist() for _ in range(count)]


def sample(
    model: Any,
    asked: list[list[int]],
    seeds: list[int],
    draft: Draft | None = None,
    **changes: Any,
) -> list[Completion]:
    size = changes.pop("batch_size", 128)
    settings = Sampling(**({"max_new_tokens": 12} | changes))
    return generate(
        model, tiny.tokenizer(), asked, settings, seeds=seeds, batch_size=size, draft=draft
    )


def rescored(
    model: Any, asked: list[list[int]], replies: list[Completion], temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probabilities of the tokens of all replies: as training finds them, and as told."""
    batch = pack(
        [
            Segment(ask + reply.tokens, [False] * len(ask) + [True] * len(reply.tokens))
            for ask, reply in zip(asked, replies, strict=True)
        ]
    )
    with torch.no_grad():
        scores = token_logprobs(model, batch, temperature=temperature).logprobs
    return scores, torch.tensor([x for reply in replies for x in reply.logprobs])


def often_ending(seed: int = 0, **changes: Any) -> Any:
    """A model that draws the end token about every sixth time."""
    model = tiny.model(seed, tie_word_embeddings=False, **changes)
    head = torch.nn.Linear(32, model.config.vocab_size)
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight)
        head.bias.zero_()
        head.bias[2] = 5.0
    model.lm_head = head
    return model


@pytest.mark.parametrize("learned_positions", [False, True], ids=["llama", "gpt2"])
@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 0.8), (0.0, 1.0)])
def test_result_depends_on_the_seed_and_not_on_the_batch(
    temperature: float, top_p: float, learned_positions: bool
) -> None:
    # C-08: learned positions show a shift that rotary ones hide. Ragged prompts, also of length 1.
    model = gpt2() if learned_positions else often_ending()
    asked, seeds = prompts(40), list(range(100, 140))
    chosen = {"temperature": temperature, "top_p": top_p}
    together = sample(model, asked, seeds, **chosen)
    order = np.random.default_rng(1).permutation(40).tolist()
    shuffled = sample(model, [asked[i] for i in order], [seeds[i] for i in order], **chosen)
    alone = [sample(model, [a], [s], **chosen)[0] for a, s in zip(asked, seeds, strict=True)]
    small = sample(model, asked, seeds, batch_size=7, **chosen)
    for others in ([shuffled[order.index(i)] for i in range(40)], alone, small):
        same = [(a, b) for a, b in zip(others, together, strict=True) if a.tokens == b.tokens]
        # A uniform number may fall within rounding of an edge between two tokens.
        assert len(same) >= 39
        for first, second in same:
            assert first.logprobs == pytest.approx(second.logprobs, abs=1e-4)


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 0.8), (2.0, 0.5)])
@pytest.mark.parametrize("adapter", [False, True], ids=["plain", "lora"])
def test_logprobs_are_the_trainers(temperature: float, top_p: float, adapter: bool) -> None:
    # C-24: the same definition at any temperature, not renormalised by top-p.
    model = often_ending()
    if adapter:
        model = adapters.attach(model, adapters.LoraSettings(r=4))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.2)
    asked = prompts(12, seed=2)
    replies = sample(model, asked, list(range(12)), temperature=temperature, top_p=top_p)
    scores, told = rescored(model, asked, replies, temperature)
    assert (scores - told).abs().max().item() <= 1e-4
    if top_p < 1:
        # Renormalised log-probabilities would be higher by -log(kept mass) on average.
        assert told.mean() < scores.mean() + 1e-4


def test_equal_prompts_share_one_prefill() -> None:
    model = often_ending()
    widths: list[tuple[int, ...]] = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: widths.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    asked = [[7, 8, 9]] * 6 + [[10, 11, 12, 13]] * 3
    replies = sample(model, asked, list(range(9)), max_new_tokens=8)
    assert widths[0] == (2, 4)
    assert widths[1][0] <= 9
    assert all(width == 1 for _, width in widths[1:])
    assert min(rows for rows, _ in widths[1:]) < 9
    assert len({tuple(reply.tokens) for reply in replies[:6]}) > 1


def test_finish_text_and_limits() -> None:
    replies = sample(often_ending(), prompts(60), list(range(60)), max_new_tokens=9)
    assert {reply.finish for reply in replies} == {"stop", "length"}
    for reply in replies:
        assert len(reply.tokens) == len(reply.logprobs) <= 9
        assert (reply.tokens[-1] == 2) == (reply.finish == "stop")
        assert 2 not in reply.tokens[:-1]
        assert "<|end|>" not in reply.text
        assert reply.finish == "stop" or len(reply.tokens) == 9


def test_context_ends_each_reply_by_itself() -> None:
    model = tiny.model(max_position_embeddings=20)
    replies = sample(model, [[7] * 18, [7] * 4], [0, 1], max_new_tokens=30)
    assert [len(r.tokens) for r in replies] == [2, 16] or replies[1].finish == "stop"
    with pytest.raises(InputError, match="prompt 0 has 20 tokens"):
        sample(model, [[7] * 20], [0])
    with pytest.raises(InputError, match="prompt 1 has no tokens"):
        sample(model, [[7], []], [0, 1])


def test_greedy_is_the_argmax_of_a_plain_forward() -> None:
    model = tiny.model(seed=3)
    asked = prompts(5, seed=4)
    for ask, reply in zip(asked, sample(model, asked, [0] * 5, temperature=0), strict=True):
        tokens = list(ask)
        for token, logprob in zip(reply.tokens, reply.logprobs, strict=True):
            with torch.no_grad():
                scores = model(torch.tensor([tokens])).logits[0, -1].log_softmax(0)
            assert token == scores.argmax().item()
            assert logprob == pytest.approx(scores[token].item(), abs=1e-4)
            tokens.append(token)


def test_packed_attention_does_not_change_sampling() -> None:
    plain, packed = tiny.model(), tiny.model()
    assert attention.packs(packed)
    asked = prompts(9)
    first, second = (sample(m, asked, list(range(9))) for m in (plain, packed))
    assert [c.tokens for c in first] == [c.tokens for c in second]


def test_mode_progress_and_no_prompts() -> None:
    model = tiny.model().train()
    counts: list[int] = []
    generate(
        model,
        tiny.tokenizer(),
        prompts(9),
        Sampling(max_new_tokens=4),
        seeds=list(range(9)),
        batch_size=4,
        progress=counts.append,
    )
    assert model.training
    assert sum(counts) == 9
    assert sample(model, [], []) == []
    with pytest.raises(ValueError, match="2 prompts need as many seeds, found 1"):
        sample(model, [[7], [8]], [0])


def test_dropout_is_off() -> None:
    model = tiny.model(attention_dropout=0.5).train()
    asked = prompts(6)
    first, second = (sample(model, asked, list(range(6))) for _ in range(2))
    assert first == second
