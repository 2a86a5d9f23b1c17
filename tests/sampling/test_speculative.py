"""Speculative decoding: exactly the model's distribution, whatever the draft model says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from tests import tiny
from tests.sampling.test_batcher import Told, asked, gemma, gpt2
from tests.sampling.test_generate import often_ending, prompts, rescored, sample

from burnish.config import InputError
from burnish.models.load import Loaded
from burnish.sampling import Sampling, generate, speculative
from burnish.sampling.batcher import BatchLimits
from burnish.sampling.draw import distribution, inverted
from burnish.sampling.generate import completion
from burnish.sampling.speculative import Draft, draft_of, verified
from burnish.sampling.usage import counted

END = 2
SETTINGS = [(0.0, 1.0), (1.0, 1.0), (0.7, 0.8)]


def near(model: Any, noise: float = 0.05) -> Any:
    """A draft model that often agrees with ``model``: it, with some noise on its weights."""
    draw = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(noise * weight.std() * torch.randn(weight.shape, generator=draw))
    return model


def test_which_proposals_stay_by_hand() -> None:
    """p / q of the proposals: 0.5 / 0.8 = 0.625, then 0.6 / 0.2 above 1, then 0.1 / 0.4 = 0.25."""
    p = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.5, 0.4], [0.0, 1.0, 0.0]])
    q = torch.tensor([[0.8, 0.1, 0.1], [0.4, 0.2, 0.4], [0.4, 0.4, 0.2]])
    proposals = torch.tensor([[0, 1, 0]])

    def check(chances: list[float], limit: int, last: float) -> tuple[int, list[int]]:
        accepted, tokens = verified(
            p[None], q[None], proposals, torch.tensor([limit]),
            torch.tensor([chances], dtype=torch.float64), torch.tensor([last], dtype=torch.float64),
        )  # fmt: skip
        return int(accepted), tokens[0, : int(accepted) + 1].tolist()

    assert check([0.62, 0.99, 0.24], 3, 0.5) == (3, [0, 1, 0, 1])
    # max(0, p - q) of the first place is (0, 0.2, 0.1), of the third (0, 0.1, 0.2)
    assert check([0.63, 0.0, 0.0], 3, 0.66) == (0, [1])
    assert check([0.63, 0.0, 0.0], 3, 0.67) == (0, [2])
    assert check([0.62, 0.99, 0.26], 3, 0.32) == (2, [0, 1, 1])
    assert check([0.62, 0.99, 0.26], 3, 0.34) == (2, [0, 1, 2])
    # Past its limit nothing is looked at: the next token is drawn from p itself.
    assert check([0.62, 0.99, 0.0], 2, 0.09) == (2, [0, 1, 0])
    assert check([0.0, 0.0, 0.0], 0, 0.51) == (0, [1])


@pytest.mark.parametrize("seed", range(4))
def test_tokens_are_distributed_as_the_model_says(seed: int) -> None:
    """Chi-squared of 40,000 rounds of three proposals, and of the one drawn after them."""
    draw = torch.Generator().manual_seed(seed)
    p = torch.randn(4, 6, generator=draw, dtype=torch.float64).mul(1.5).softmax(1)
    q = torch.randn(3, 6, generator=draw, dtype=torch.float64).mul(1.5).softmax(1)
    q[1, 2] = 0  # the model may say what its draft never does
    q = q / q.sum(1, keepdim=True)
    rows = 40_000
    uniform = torch.rand(3, rows, 3, generator=draw, dtype=torch.float64)
    proposals = torch.stack(
        [inverted(q[place].expand(rows, -1), uniform[0, :, place]) for place in range(3)], 1
    )
    accepted, tokens = verified(
        p.expand(rows, -1, -1), q.expand(rows, -1, -1), proposals, torch.full((rows,), 3),
        uniform[1], uniform[2, :, 0],
    )  # fmt: skip
    stays = 1 - 0.5 * (p[0] - q[0]).abs().sum()  # Leviathan et al. 2023, theorem 3.5
    assert (accepted > 0).double().mean().item() == pytest.approx(stays.item(), abs=0.01)
    for place in range(4):
        there = tokens[accepted >= place, place]
        found = torch.bincount(there, minlength=6).numpy()
        assert chisquare(found, p[place].numpy() * len(there)).pvalue > 1e-3


def exact(
    model: Any, ask: list[int], sampling: Sampling, count: int
) -> dict[tuple[int, ...], float]:
    """The probability of every reply of at most ``count`` tokens, by plain forward passes."""
    found: dict[tuple[int, ...], float] = {(): 1.0}
    for _ in range(count):
        ended = {reply: chance for reply, chance in found.items() if reply[-1:] == (END,)}
        replies = [reply for reply in found if reply not in ended]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ask + list(r) for r in replies])).logits[:, -1]
        weights = distribution(logits.float(), sampling)
        found = ended | {
            (*reply, token): found[reply] * float(row[token])
            for reply, row in zip(replies, weights, strict=True)
            for token in row.nonzero().flatten().tolist()
        }
    return found


def pvalue(model: Any, draft: Draft, sampling: Sampling, draws: int = 1500) -> float:
    """Of replies of three tokens, against what they should be; rare ones count as one kind."""
    ask = [7, 90, 12]
    replies = generate(
        model, tiny.tokenizer(), [ask] * draws, sampling, seeds=list(range(draws)), draft=draft
    )
    wanted = exact(model, ask, sampling, 3)
    seen = Counter(tuple(reply.tokens) for reply in replies)
    assert set(seen) <= set(wanted)
    often = [reply for reply, chance in wanted.items() if chance * draws >= 8]
    assert len(often) > 20
    found = [seen[reply] for reply in often]
    expected = [wanted[reply] * draws for reply in often]
    both = [*found, draws - sum(found)], [*expected, draws - sum(expected)]
    return float(chisquare(*both).pvalue)


def test_whole_replies_are_distributed_as_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a draft model of another mind, at a temperature and in a nucleus; and what would be
    seen if every proposal stayed."""
    model, draft = tiny.model(3), Draft(tiny.model(4), 3)
    sampling = Sampling(temperature=0.5, top_p=0.5, max_new_tokens=3)
    assert pvalue(model, draft, sampling) > 1e-3
    close = Draft(near(tiny.model(3), 0.2), 3)
    assert pvalue(model, close, sampling) > 1e-3
    monkeypatch.setattr(
        speculative, "verified", lambda p, q, *rest: verified(
            torch.cat([q, p[:, -1:]], 1), q, *rest
        ),
    )  # fmt: skip
    with pytest.raises(AssertionError):
        assert pvalue(model, close, sampling) > 1e-3


@pytest.mark.parametrize("make", [often_ending, gpt2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("ahead", [1, 4])
def test_greedy_replies_are_the_models_token_for_token(make: Any, ahead: int) -> None:
    """Ragged prompts, also of one token; replies that end at a token, a string or a limit."""
    model = make()
    draft = Draft(tiny.model(5) if make is gpt2 else near(often_ending()), ahead)
    asked, seeds = prompts(24), list(range(24))
    for stop in ([], ["e", "an"]):
        alone = sample(model, asked, seeds, temperature=0, stop=stop)
        found = sample(model, asked, seeds, draft, temperature=0, stop=stop)
        assert [one.tokens for one in found] == [one.tokens for one in alone]
        assert [(one.text, one.finish) for one in found] == [(o.text, o.finish) for o in alone]
        for one, other in zip(found, alone, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize(("temperature", "top_p"), SETTINGS)
def test_a_reply_depends_on_its_seed_and_not_on_the_batch(temperature: float, top_p: float) -> None:
    # C-08
    model, draft = often_ending(), Draft(near(often_ending()), 3)
    asked, seeds = prompts(30), list(range(100, 130))
    chosen = {"temperature": temperature, "top_p": top_p}
    together = sample(model, asked, seeds, draft, **chosen)
    alone = [sample(model, [a], [s], draft, **chosen)[0] for a, s in zip(asked, seeds, strict=True)]
    small = sample(model, asked, seeds, draft, batch_size=7, **chosen)
    for others in (alone, small):
        same = [(a, b) for a, b in zip(others, together, strict=True) if a.tokens == b.tokens]
        # A uniform number may fall within rounding of an edge.
        assert len(same) >= 29
        for first, second in same:
            assert first.logprobs == pytest.approx(second.logprobs, abs=1e-4)
    assert len({len(one.tokens) for one in together}) > 3


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 0.8), (2.0, 0.5)])
def test_logprobs_are_the_trainers(temperature: float, top_p: float) -> None:
    # C-24: the model's, not the draft's, and not renormalised by top-p.
    model, draft = often_ending(), Draft(near(often_ending(), 0.3), 4)
    asked = prompts(12, seed=2)
    chosen = {"temperature": temperature, "top_p": top_p}
    replies = sample(model, asked, list(range(12)), draft, **chosen)
    scores, told = rescored(model, asked, replies, temperature)
    assert (scores - told).abs().max().item() <= 1e-4


def test_usage_says_what_was_proposed_and_what_stayed() -> None:
    model = often_ending()
    rates = {}
    for name, other in (
        ("itself", model),
        ("near", near(often_ending())),
        ("other", often_ending(7)),
    ):
        with counted() as used:
            replies = sample(
                model, prompts(20), list(range(20)), Draft(other, 3), max_new_tokens=20
            )
        assert used.sampled == sum(len(reply.tokens) for reply in replies)
        assert 0 <= used.accepted <= used.proposed
        rates[name] = used.accepted / used.proposed
    # All of its own proposals stay, but for those behind the end of a reply.
    assert rates["itself"] > rates["near"] > rates["other"]
    with counted() as used:
        sample(model, prompts(8), list(range(8)), Draft(model, 3), max_new_tokens=9, stop=[])
    assert used.proposed > 0
    with counted() as used:
        sample(model, prompts(3), [0, 1, 2])
    assert (used.proposed, used.accepted) == (0, 0)


def test_rounds_are_fewer_than_tokens() -> None:
    """A model that is its own draft: one pass over four tokens and one over each proposal."""
    model, passes = tiny.model(), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: passes.append(tuple(kwargs["input_ids"].shape)),
        with_kwargs=True,
    )
    (reply,) = sample(model, [[7, 8, 9]], [0], Draft(tiny.model(), 3), max_new_tokens=13,
                      temperature=0)  # fmt: skip
    assert len(reply.tokens) == 13
    assert passes == [(1, 3), (1, 4), (1, 4), (1, 4)]


def test_the_context_ends_each_reply_by_itself() -> None:
    """Proposals never reach for a position that the model does not have; the draft has fewer."""
    model, draft = gpt2(), Draft(tiny.model(max_position_embeddings=20), 4)
    asked = [[7] * 62, [7] * 4, [7]]
    plain = sample(model, asked, [0, 1, 2], max_new_tokens=80, temperature=0)
    found = sample(model, asked, [0, 1, 2], draft, max_new_tokens=80, temperature=0)
    assert [one.tokens for one in found] == [one.tokens for one in plain]
    assert len(found[0].tokens) == 2


@pytest.mark.parametrize("make", [tiny.model, gpt2])
def test_a_batcher_with_a_draft_says_what_a_request_alone_would(make: Any) -> None:
    model, draft = make(), Draft(tiny.model(5), 3)
    told = Told(model, draft=draft, rows=4, join_every=1)
    requests, rows = asked(12), []
    for number, (prompt, sampling, seed) in enumerate(requests):
        rows += told.batcher.submit(prompt, sampling, [seed])
        if number % 3 == 0:
            told.batcher.step()
    told.batcher.cancel(rows[:1])
    told.drain()
    same = 0
    for row, (prompt, sampling, seed) in list(zip(rows, requests, strict=True))[1:]:
        (alone,) = generate(model, tiny.tokenizer(), [prompt], sampling, seeds=[seed], draft=draft)
        joined = completion(row)
        assert told.tokens[id(row)] == joined.tokens
        assert told.ended[id(row)]
        same += joined.tokens == alone.tokens
        if joined.tokens == alone.tokens:
            assert joined.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    assert same >= 10
    assert told.batcher.proposed > told.batcher.accepted > 0


def test_the_drafts_cells_count_against_the_limits() -> None:
    limits = BatchLimits(cache_mib=1)
    one, two = (
        Told(tiny.model(), draft=draft, **limits.model_dump()).batcher
        for draft in (None, Draft(tiny.model(), 3))
    )
    assert two.cells == one.cells // 2
    with pytest.raises(InputError, match="512 together"):
        two.submit([7] * 512, Sampling(), [0])


def test_a_draft_that_cannot_be_is_refused_by_name() -> None:
    target = Loaded(tiny.model(), tiny.tokenizer(), "large", None)
    with pytest.raises(
        InputError, match="draft: another vocabulary; one with the vocabulary of large"
    ):
        draft_of(target, Loaded(tiny.model(), tiny.tokenizer(extra=["<|x|>"]), "small", None))
    with pytest.raises(InputError, match=r"gemma3_text.*cannot go back"):
        draft_of(target, Loaded(gemma(), tiny.tokenizer(), "small", None))
    assert draft_of(target, target, 2) == Draft(target.model, 2)


def test_heads_padded_to_different_sizes() -> None:
    """A token that only the draft has is never proposed; one that only the model has may come, and
    the draft then reads another."""
    size = len(tiny.tokenizer())
    for own, others in ((size, size + 20), (size + 20, size)):
        model, draft = tiny.model(vocab_size=own), Draft(tiny.model(5, vocab_size=others), 3)
        asked = prompts(6)
        plain = sample(model, asked, [0] * 6, temperature=0)
        found = sample(model, asked, [0] * 6, draft, temperature=0)
        assert [one.tokens for one in found] == [one.tokens for one in plain]
        hot = sample(model, asked, list(range(6)), draft, temperature=5.0)
        assert max(max(one.tokens) for one in hot) < own
