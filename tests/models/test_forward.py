from __future__ import annotations

import copy
import math

import pytest
import torch
from tests import tiny
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from burnish.models import forward
from burnish.models.attention import NAME, packs
from burnish.models.forward import hidden, segment_counts, segment_sums, token_logprobs
from burnish.models.packing import Packing
from burnish.text.batches import Batch, Segment, pack

LENGTHS = [5, 40, 7, 1, 60, 30, 2]


def segments(lengths: list[int] = LENGTHS, top: int = 200) -> list[Segment]:
    draw = torch.Generator().manual_seed(1)
    rows = [torch.randint(6, top, (n,), generator=draw).tolist() for n in lengths]
    return [Segment(row, [True] * len(row), str(n)) for n, row in enumerate(rows)]


def gpt2(seed: int = 0) -> GPT2LMHeadModel:
    """Learned positions: unlike rotary ones they show every mistake in position ids."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=270, n_positions=64, n_embd=32, n_layer=2, n_head=4, initializer_range=0.2
    )
    return GPT2LMHeadModel(config).eval()


def sliding(seed: int = 0) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=270, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, use_sliding_window=True, sliding_window=8,
        max_window_layers=1, initializer_range=0.2,
    )  # fmt: skip
    return Qwen2ForCausalLM(config).eval()


def alone(model: PreTrainedModel, segment: Segment, temperature: float = 1.0) -> torch.Tensor:
    """The definition: one unpadded row through the model itself; ``[L-1]`` log-probabilities."""
    row = torch.tensor([list(segment.tokens)])
    scores = model(input_ids=row, use_cache=False).logits[0, :-1] / temperature
    return scores.log_softmax(-1).gather(1, row[0, 1:, None]).squeeze(1)


def gradients(model: PreTrainedModel, value: torch.Tensor) -> list[torch.Tensor]:
    model.zero_grad()
    value.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.parametrize("make", [tiny.model, gpt2, sliding])
def test_packed_equals_alone(make) -> None:
    """C-05: log-probabilities and gradients equal those of each document by itself."""
    model, rows = make(), segments()
    expected = torch.cat([alone(model, row) for row in rows])
    expected_gradients = gradients(model, expected.sum())
    batch = pack(rows)
    got = token_logprobs(model, batch).logprobs
    assert model.config._attn_implementation == NAME
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    for one, other in zip(gradients(model, got.sum()), expected_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()) + 1e-6, rtol=0)


def families() -> list[Segment | list[Segment]]:
    """Replies to prompts of 9 to 33 tokens, two to five each, and documents between them."""
    rows = segments([9, 20, 33, 12, 3, 30, 1, 7, 40, 2, 5, 6, 4, 11, 8, 13])
    units: list[Segment | list[Segment]] = []
    replies = iter(rows[6:])
    for prompt, count in zip(rows[:4], (2, 3, 2, 2), strict=True):
        group = []
        for _ in range(count):
            reply = next(replies)
            tokens, before = [*prompt.tokens, *reply.tokens], len(prompt.tokens)
            mask = [False] * before + [True] * len(reply.tokens)
            group.append(Segment(tokens, mask))
        units.append(group)
    return [units[0], rows[4], *units[1:3], rows[5], units[3]]


def flat(units: list[Segment | list[Segment]]) -> list[Segment]:
    return [s for unit in units for s in (unit if isinstance(unit, list) else [unit])]


@pytest.mark.parametrize("make", [tiny.model, gpt2, sliding])
def test_shared_prompts_equal_alone(make) -> None:
    """C-05 for segments that share a prompt: log-probabilities and gradients of each alone."""
    model, units = make(), families()
    expected = torch.cat([alone(model, row)[torch.tensor(row.mask[1:])] for row in flat(units)])
    weights = torch.linspace(-1, 2, len(expected))
    expected_gradients = gradients(model, expected @ weights)
    batch = pack(units)
    assert len(batch.shared) == 4
    assert len(batch.tokens) < sum(batch.lengths)
    got = token_logprobs(model, batch).logprobs
    assert model.config._attn_implementation == NAME
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    for one, other in zip(gradients(model, got @ weights), expected_gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()) + 1e-6, rtol=0)


def test_a_reply_does_not_see_the_other_replies() -> None:
    """C-05, negative control: what one reply says changes that reply alone."""
    model, units = tiny.model(), families()
    group = units[0]
    assert isinstance(group, list)
    changed = Segment([*group[0].tokens[:-1], 5], group[0].mask)
    before, after = (pack([[first, group[1]]]) for first in (group[0], changed))
    one, other = (hidden(model, batch) for batch in (before, after))
    last = before.last_index()
    assert torch.equal(one[last[1]], other[last[1]])
    assert (one[last[0]] - other[last[0]]).abs().max() > 1e-3
    # Without the prompt's keys the replies would be others.
    bare = pack([Segment(group[1].tokens[9:], group[1].mask[9:])])
    assert (one[last[1]] - hidden(model, bare)[-1]).abs().max() > 1e-3


def test_rows_for_a_flash_kernel_have_the_prompt_before_each_reply() -> None:
    """The offsets and keys of the variable-length kernel, attended to in plain arithmetic."""
    units = families()
    batch = pack(units)
    rows = Packing(batch).rows
    assert rows.copies is not None
    draw = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, len(batch.tokens), 4, generator=draw)
    keys, values = key[rows.copies.gather], value[rows.copies.gather]
    found = torch.empty_like(query)
    for q0, q1, k0, k1 in zip(
        rows.queries[:-1], rows.queries[1:], rows.keys[:-1], rows.keys[1:], strict=True
    ):
        # Causal from the end: the last query sees the last key.
        seen = torch.ones(int(q1 - q0), int(k1 - k0)).tril(int(k1 - k0 - (q1 - q0))).bool()
        scores = (query[q0:q1] @ keys[k0:k1].T).masked_fill(~seen, -torch.inf)
        found[q0:q1] = scores.softmax(-1) @ values[k0:k1]
    for number, places in enumerate(batch.whole_index().split(batch.lengths)):
        scores = (query[places] @ key[places].T).masked_fill(
            ~torch.ones(len(places), len(places)).tril().bool(), -torch.inf
        )
        own = batch.own[number]
        expected = (scores.softmax(-1) @ value[places])[own.past :]
        torch.testing.assert_close(found[own.start : own.start + own.length], expected)
    assert rows.longest == (40, 60)


def test_laying_documents_end_to_end_without_isolation_differs() -> None:
    """C-05, negative control: the same tokens as one document give other values."""
    model, rows = tiny.model(), segments()
    one = Segment([t for row in rows for t in row.tokens], [True] * sum(LENGTHS))
    mixed = hidden(model, pack([one]))
    apart = hidden(model, pack(rows))
    assert torch.allclose(mixed[: LENGTHS[0]], apart[: LENGTHS[0]], atol=1e-5)
    assert (mixed[LENGTHS[0] :] - apart[LENGTHS[0] :]).abs().max() > 0.1


def test_no_loss_across_the_document_edge() -> None:
    """C-05: first tokens are never targets."""
    batch = pack(segments())
    assert int(batch.targets.sum()) == sum(LENGTHS) - len(LENGTHS)


@pytest.mark.parametrize("make", [tiny.model, gpt2])
def test_the_padded_path_equals_alone(make, monkeypatch: pytest.MonkeyPatch) -> None:
    """C-08: the fallback for odd models, with mask and explicit positions."""
    model, rows = make(), segments([5, 40, 7, 1])
    monkeypatch.setattr(type(model), "_supports_attention_backend", False)
    assert not packs(model)
    got = token_logprobs(model, pack(rows)).logprobs
    assert model.config._attn_implementation != NAME
    expected = torch.cat([alone(model, row) for row in rows])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)
    units = families()
    got = token_logprobs(model, pack(units)).logprobs
    expected = torch.cat([alone(model, row)[torch.tensor(row.mask[1:])] for row in flat(units)])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_a_switched_model_still_generates_the_same() -> None:
    model = tiny.model()
    prompt = torch.tensor([[0, 0, 1, 70, 71], [1, 70, 71, 72, 73]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])

    def generated() -> list[list[int]]:
        settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
        return model.generate(prompt, attention_mask=mask, **settings).tolist()

    before = generated()
    assert packs(model)
    assert generated() == before


def by_hand(rows: list[list[float]], labels: list[int]) -> tuple[PreTrainedModel, Batch]:
    """A model of three words whose logits after word w are ``rows[w]``."""
    model = tiny.model(vocab_size=3, hidden_size=4, num_attention_heads=1, num_key_value_heads=1,
                       num_hidden_layers=0, tie_word_embeddings=False, bos_token_id=0,
                       eos_token_id=1, pad_token_id=None)  # fmt: skip
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(4)[:3])
        model.model.norm.weight.fill_(0.5)  # one-hot of width 4 has root mean square 1/2
        model.lm_head.weight.copy_(torch.cat([torch.tensor(rows).T, torch.zeros(3, 1)], dim=1))
    return model, pack([Segment(labels, [True] * len(labels))])


def test_logprobs_by_hand() -> None:
    """C-09: log_softmax(logits / temperature) of three words, worked out by hand."""
    rows = [[1.0, 0.0, 0.0], [0.0, math.log(2), math.log(4)], [0.0, 0.0, 0.0]]
    model, batch = by_hand(rows, [1, 2, 0])
    scores = token_logprobs(model, batch, entropy=True, mean=True)
    # after word 1: 4 / (1 + 2 + 4); after word 2: 1 / 3
    expected = torch.tensor([math.log(4 / 7), math.log(1 / 3)])
    torch.testing.assert_close(scores.logprobs, expected, atol=1e-4, rtol=0)
    seventh = -(1 / 7 * math.log(1 / 7) + 2 / 7 * math.log(2 / 7) + 4 / 7 * math.log(4 / 7))
    entropy = torch.tensor([seventh, math.log(3)])
    torch.testing.assert_close(scores.entropy, entropy, atol=1e-4, rtol=0)
    # the three log-probabilities after word 1 are log(1/7), log(2/7), log(4/7)
    mean = torch.tensor([math.log(8 / 343) / 3, -math.log(3)])
    torch.testing.assert_close(scores.mean, mean, atol=1e-4, rtol=0)
    # temperature 1/2 squares the odds: 16 / (1 + 4 + 16)
    cold = token_logprobs(model, batch, temperature=0.5).logprobs
    expected = torch.tensor([math.log(16 / 21), math.log(1 / 3)])
    torch.testing.assert_close(cold, expected, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="temperature"):
        token_logprobs(model, batch, temperature=0.0)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("entropy", [False, True])
def test_the_gather_has_true_gradients(entropy: bool, mean: bool) -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(4, 6, dtype=torch.float64, generator=draw, requires_grad=True)
    labels = torch.tensor([0, 5, 2, 2])

    def value(scores: torch.Tensor) -> torch.Tensor:
        found = forward._Gather.apply(scores * 1, labels, 0.7, entropy, mean)  # overwritten
        asked = (True, entropy, mean)
        weights = torch.tensor([1.0, -2.0, 0.5, 3.0], dtype=torch.float64)
        parts = [part for part, wanted in zip(found, asked, strict=True) if wanted]
        return sum(factor * (part * weights).sum() for factor, part in enumerate(parts, start=1))

    value(scores).backward()
    with torch.no_grad():
        steps = 1e-6 * torch.eye(24, dtype=torch.float64).view(24, 4, 6)
        slopes = [(value(scores + step) - value(scores - step)) / 2e-6 for step in steps]
    torch.testing.assert_close(scores.grad.flatten(), torch.stack(slopes), atol=1e-8, rtol=0)


def test_the_gather_works_in_the_logits_themselves() -> None:
    """They are its largest tensor; a second backward is an error and no wrong gradient."""
    scores = torch.randn(3, 5, requires_grad=True)
    made = scores * 1
    found = forward._Gather.apply(made, torch.tensor([0, 1, 4]), 1.0, False, False)[0]
    torch.testing.assert_close(made, scores.log_softmax(1))
    found.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="inplace"):
        found.sum().backward()


@pytest.mark.parametrize("at_once", [1, 2**24])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """In pieces that are kept, and in pieces that are computed again in backward."""
    model, batch = tiny.model(), pack(segments())
    whole = token_logprobs(model, batch, entropy=True, mean=True)
    wanted = gradients(model, (whole.logprobs - whole.entropy + 2 * whole.mean).sum())
    monkeypatch.setattr(forward, "SMALLEST_CHUNK", 16)
    monkeypatch.setattr(forward, "CACHED_LOGITS", 1)
    monkeypatch.setattr(forward, "LOGITS_AT_ONCE", at_once)
    parts = token_logprobs(model, batch, entropy=True, mean=True)
    torch.testing.assert_close(parts.logprobs, whole.logprobs, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.entropy, whole.entropy, atol=1e-5, rtol=0)
    torch.testing.assert_close(parts.mean, whole.mean, atol=1e-5, rtol=0)
    got = gradients(model, (parts.logprobs - parts.entropy + 2 * parts.mean).sum())
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_a_batch_without_targets_gives_zero_and_no_nan() -> None:
    """C-01: a fully masked row is 0, not NaN, also in the gradient."""
    model = tiny.model()
    batch = pack([Segment([7, 8, 9], [False] * 3), Segment([7], [True])])
    scores = token_logprobs(model, batch)
    assert scores.logprobs.shape == (0,)
    assert segment_sums(scores.logprobs, batch).tolist() == [0.0, 0.0]
    assert segment_counts(batch).tolist() == [0.0, 0.0]
    for gradient in gradients(model, scores.logprobs.sum()):
        assert not gradient.any()


def test_segment_sums_by_hand() -> None:
    batch = pack([Segment([7, 8, 9], [True] * 3), Segment([7, 8], [True] * 2)])
    assert segment_sums(torch.tensor([1.0, 2.0, 4.0]), batch).tolist() == [3.0, 4.0]
    assert segment_counts(batch).tolist() == [2.0, 1.0]


def test_gradient_checkpointing_keeps_isolation() -> None:
    """Recomputation in backward must see the same packing."""
    model = tiny.model()
    batch = pack(segments())
    wanted = gradients(model, token_logprobs(model, batch).logprobs.sum())
    again = copy.deepcopy(model)
    again.activation_checkpointing_enable()
    again.train()
    got = gradients(again, token_logprobs(again, batch).logprobs.sum())
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)
