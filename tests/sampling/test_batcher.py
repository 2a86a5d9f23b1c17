from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny

from burnish.config import InputError
from burnish.models.load import load_model
from burnish.sampling import Sampling, generate
from burnish.sampling.batcher import Batcher, BatchLimits, Drawn, QueueFull
from burnish.sampling.cache import cell_bytes
from burnish.sampling.decoding import LEAST_UNUSED, Row, Rows
from burnish.sampling.generate import completion
from burnish.sampling.stopping import Endings, Increments

TOKENIZER = tiny.tokenizer()
STOPS = [[], list("abcdefghij"), ["e"]]


class Told:
    """What a batcher told, by row."""

    def __init__(self, model: Any, draft: Any = None, **limits: Any) -> None:
        self.tokens: dict[int, list[int]] = defaultdict(list)
        self.ended: dict[int, bool] = {}
        self.errors: dict[int, Exception | None] = {}
        self.most = 0
        self.batcher = Batcher(model, TOKENIZER, BatchLimits(**limits), self.hear, draft)

    def hear(self, drawn: list[Drawn]) -> None:
        self.most = max(self.most, len({id(one.row) for one in drawn}))
        for one in drawn:
            assert not self.ended.get(id(one.row))
            self.ended[id(one.row)] = one.last
            self.errors[id(one.row)] = one.error
            if one.token is not None:
                self.tokens[id(one.row)].append(one.token)

    def drain(self) -> None:
        while self.batcher.step():
            pass


def asked(count: int, longest: int = 40) -> list[tuple[list[int], Sampling, int]]:
    """Ragged prompts, with settings of all kinds."""
    random = np.random.default_rng(5)
    return [
        (
            random.integers(6, 200, random.integers(1, longest)).tolist(),
            Sampling(
                temperature=float(random.choice([0, 0.7, 1])),
                top_p=float(random.choice([0.8, 1])),
                max_new_tokens=int(random.integers(1, 30)),
                stop=STOPS[random.integers(3)],
            ),
            seed,
        )
        for seed in range(count)
    ]


def gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()


def gemma() -> Any:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=6, initializer_range=0.3,
        layer_types=["sliding_attention", "full_attention"], max_position_embeddings=256,
        query_pre_attn_scalar=8, eos_token_id=2, pad_token_id=0, bos_token_id=1,
    )  # fmt: skip
    return Gemma3ForCausalLM(config).eval()


@pytest.mark.parametrize("make", [tiny.model, gpt2, gemma])
def test_tokens_are_those_of_a_request_alone(make: Any) -> None:
    # C-08: learned positions show a shift that rotary ones hide; Gemma has sliding windows.
    model = make()
    told = Told(model, rows=4, join_every=1)
    requests = asked(24)
    rows = []
    for number, (prompt, sampling, seed) in enumerate(requests):
        rows += told.batcher.submit(prompt, sampling, [seed])
        if number % 3 == 0:  # some come while others run
            told.batcher.step()
    told.drain()
    assert told.most == 4
    same = 0
    for row, (prompt, sampling, seed) in zip(rows, requests, strict=True):
        alone = generate(model, TOKENIZER, [prompt], sampling, seeds=[seed])[0]
        joined = completion(row)
        assert told.tokens[id(row)] == joined.tokens
        assert told.ended[id(row)]
        # A uniform number may fall within rounding of an edge between two tokens.
        same += joined.tokens == alone.tokens
        if joined.tokens == alone.tokens:
            assert (joined.text, joined.finish) == (alone.text, alone.finish)
            assert joined.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    assert same >= 23


def test_cells_are_used_again() -> None:
    # One row after another through a batch of two: its width follows the rows that are there.
    model = tiny.model()
    told = Told(model, rows=2, join_every=1)
    for seed in range(30):
        told.batcher.submit([7] * 20, Sampling(max_new_tokens=10 + seed % 7), [seed])
    widest = 0
    while told.batcher.step():
        rows = told.batcher._running
        widest = max(widest, 0 if rows is None else rows.width)
    assert 36 + LEAST_UNUSED // 2 < widest <= 36 + LEAST_UNUSED
    assert len(told.ended) == 30


def test_the_cache_has_a_limit() -> None:
    model = tiny.model(max_position_embeddings=4096)
    cells = 2**20 // cell_bytes(model)
    told = Told(model, rows=32, cache_mib=1, join_every=1)
    assert told.batcher.cells == cells == 4096
    rows = [told.batcher.submit([7] * 24, Sampling(max_new_tokens=1000), [n])[0] for n in range(6)]
    told.batcher.step()
    assert [row in told.batcher._running.rows for row in rows] == [True] * 4 + [False] * 2
    told.batcher.cancel(rows)
    with pytest.raises(InputError, match="4096 tokens, which leaves no room"):
        told.batcher.submit([7] * 4096, Sampling(), [0])
    with pytest.raises(InputError, match="has no tokens"):
        told.batcher.submit([], Sampling(), [0])


def test_a_full_queue_refuses_all_of_a_request() -> None:
    told = Told(tiny.model(), waiting=3)
    told.batcher.submit([7], Sampling(), [0, 1])
    with pytest.raises(QueueFull):
        told.batcher.submit([7], Sampling(), [2, 3])
    told.batcher.submit([7], Sampling(), [4])
    assert told.batcher.waiting == 3
    told.batcher.close()
    told.drain()
    with pytest.raises(QueueFull):
        told.batcher.submit([7], Sampling(), [5])


def test_requests_can_be_given_up_where_they_are() -> None:
    model = tiny.model()
    told = Told(model, rows=2, join_every=1)
    requests = asked(6)
    rows = [told.batcher.submit(p, Sampling(max_new_tokens=20), [s])[0] for p, _, s in requests]
    told.batcher.step()
    told.batcher.cancel([rows[0], rows[3]])  # one that runs, one that waits
    told.drain()
    assert len(told.tokens[id(rows[0])]) == 1
    assert id(rows[3]) not in told.tokens
    for index in (1, 2, 4, 5):
        prompt, _, seed = requests[index]
        limit = Sampling(max_new_tokens=20)
        alone = generate(model, TOKENIZER, [prompt], limit, seeds=[seed])[0]
        assert rows[index].tokens == alone.tokens
    row = told.batcher.submit([7], Sampling(), [0])
    told.batcher.cancel(row)
    told.drain()
    assert told.batcher.running == told.batcher.waiting == 0
    assert row[0].tokens == []


def test_an_error_ends_those_it_hits() -> None:
    model = tiny.model()
    told = Told(model, rows=2)
    first = told.batcher.submit([7], Sampling(max_new_tokens=4), [0, 1])
    told.batcher.step()
    told.batcher.submit([9], Sampling(max_new_tokens=4), [2])
    broken = model.register_forward_pre_hook(lambda *_: 1 / 0)
    told.batcher.step()
    broken.remove()
    assert all(isinstance(told.errors[id(row)], ZeroDivisionError) for row in first)
    told.drain()
    assert len(told.ended) == 3
    assert sum(error is None for error in told.errors.values()) == 1


def test_a_thread_decodes_until_all_is_done() -> None:
    told = Told(tiny.model(), rows=3)
    thread = threading.Thread(target=told.batcher.run)
    thread.start()
    for prompt, sampling, seed in asked(8):
        told.batcher.submit(prompt, sampling, [seed])
    told.batcher.close()
    thread.join(30)
    assert not thread.is_alive()
    assert list(told.ended.values()) == [True] * 8


def test_the_likeliest_tokens_are_told() -> None:
    model = tiny.model()
    told = Told(model)
    (row,) = told.batcher.submit([7, 8], Sampling(temperature=0.5, max_new_tokens=3), [0], top=4)
    told.drain()
    with torch.no_grad():
        scores = (model(torch.tensor([[7, 8]])).logits[0, -1] / 0.5).log_softmax(0)
    best = scores.topk(4)
    assert [token for token, _ in row.tops[0]] == best.indices.tolist()
    assert [logprob for _, logprob in row.tops[0]] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert len(row.tops) == len(row.tokens)


def test_a_row_at_the_end_of_the_context_waits_for_others() -> None:
    # The model has no position behind its last one.
    model = gpt2()
    endings = Endings(TOKENIZER, frozenset(), [])
    rows = [
        Row((7,) * length, np.random.default_rng(0), 64 - length, Sampling(), endings)
        for length in (60, 5, 5, 5, 5, 5)
    ]
    batch = Rows(model, rows)
    while batch.alive:
        batch.step()
    assert [len(row.tokens) for row in rows] == [4, 59, 59, 59, 59, 59]


@settings(max_examples=60, deadline=None)
@given(
    st.text(max_size=30), st.lists(st.text(min_size=1, max_size=4), max_size=2), st.integers(0, 9)
)
def test_increments_make_up_the_text(text: str, stop: list[str], extra: int) -> None:
    model_tokens = TOKENIZER(text, add_special_tokens=False)["input_ids"]
    endings = Endings(TOKENIZER, frozenset([2]), stop)
    tokens: list[int] = []
    for token in [*model_tokens, *([2] if extra else [])]:
        tokens.append(token)
        if endings.ended(tokens):
            break
    if not tokens:
        return
    row = Row((7,), np.random.default_rng(0), 99, Sampling(), endings, tokens=tokens)
    whole = completion(row).text
    pieces = Increments(endings)
    given = [pieces.push(token) for token in tokens[:-1]]
    for index in range(len(given)):  # nothing is taken back
        assert whole.startswith("".join(given[: index + 1]))
    assert "".join(given) + pieces.finish(whole) == whole


def test_increments_come_soon() -> None:
    loaded = load_model("burnish-tiny")
    endings = Endings(loaded.tokenizer, frozenset(), ["\n\n"])
    pieces = Increments(endings)
    text = "The capital of Peru is Lima. 秘鲁的首都是利马。\n Next"
    tokens = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    given = [pieces.push(token) for token in tokens]
    assert "".join(given) == text
    assert sum(bool(piece) for piece in given) > len(tokens) / 2
