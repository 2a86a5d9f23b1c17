"""Prompts that begin with what was computed before, and prompts that are read by parts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import tiny
from tests.sampling.test_batcher import TOKENIZER, Told, asked, gemma, gpt2
from tests.sampling.test_speculative import near

from burnish.sampling import Draft, Sampling, batcher, generate
from burnish.sampling.cache import cells_of, new_cache
from burnish.sampling.decoding import Row
from burnish.sampling.past import Past
from burnish.sampling.prefixes import BLOCK, Prefixes
from burnish.sampling.reading import Reading

REPLY = Sampling(max_new_tokens=20)


def ids(count: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(6, 200, count).tolist()


def exact(seed: int = 0) -> Any:
    """In float64 all ways to compute the same differ by 1e-15 or so."""
    return tiny.plain(seed).double()


def passes(model: Any) -> list[tuple[int, int]]:
    """Rows and columns of each pass from now on."""
    shapes: list[tuple[int, int]] = []

    def note(module: Any, args: Any, kwargs: Any) -> None:
        shapes.append(tuple(kwargs["input_ids"].shape))

    model.register_forward_pre_hook(note, with_kwargs=True)
    return shapes


def conversations(told: Told, turns: int = 3) -> list[Row]:
    """Four conversations under one system prompt of 50 tokens, each going on from its reply."""
    texts = [ids(50) for _ in range(4)]
    rows = []
    for turn in range(turns):
        for number, text in enumerate(texts):
            text.extend(ids(3 + 7 * number, seed=10 * turn + number))
            rows += told.batcher.submit(text, REPLY, [number])
            if number % 2:  # two at a time, some while others run
                told.batcher.step()
        told.drain()
        for text, row in zip(texts, rows[-4:], strict=True):
            text.extend(row.tokens)
    return rows


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("chunk", [7, 512])
def test_replies_are_those_without_a_cache(chunk: int, ahead: int) -> None:
    model = exact()
    draft = Draft(near(exact()), ahead) if ahead else None
    told = Told(model, draft, chunk_tokens=chunk, rows=3)
    rows = conversations(told)
    plain = conversations(Told(model, draft, prefix_mib=0, chunk_tokens=4096, rows=3))
    assert [row.tokens for row in rows] == [row.tokens for row in plain]
    for row, other in zip(rows, plain, strict=True):
        assert row.logprobs == pytest.approx(other.logprobs, abs=1e-9)
    assert {row.known for row in plain} == {0}
    # The third turn's beginning is the second's prompt and reply but its last token; two that come
    # together read as much as the one that has more to read.
    for number in range(4):
        before = rows[4 + number]
        assert 0 < rows[8 + number].known <= (before.length - 1) // BLOCK * BLOCK
    assert sum(row.known for row in rows[8:]) > 0.8 * sum(row.length for row in rows[4:8])


def test_a_cell_that_is_wrong_shows() -> None:
    """The negative control of the test above."""
    model = exact()
    told = Told(model)
    told.batcher.submit(ids(50), REPLY, [0])
    told.drain()
    (plain,) = told.batcher.submit(ids(50), REPLY, [0])
    told.drain()
    with torch.inference_mode():
        for block in told.batcher.prefixes._blocks.values():
            block.cells[0] += 1e-5
    (wrong,) = told.batcher.submit(ids(50), REPLY, [0])
    told.drain()
    assert plain.known == wrong.known == 48
    assert wrong.logprobs != pytest.approx(plain.logprobs, abs=1e-9)


@pytest.mark.parametrize("ahead", [0, 3])
def test_what_is_kept_is_what_would_be_computed(ahead: int) -> None:
    # Rows that end at different times, in a batch with proposals of which some were refused.
    model = exact()
    told = Told(model, Draft(near(exact()), ahead) if ahead else None, rows=4, join_every=1)
    rows = [
        told.batcher.submit(prompt, sampling, [seed])[0] for prompt, sampling, seed in asked(16)
    ]
    told.drain()
    seen = 0
    for row in rows:
        text = (*row.prompt, *row.tokens[:-1])
        found = told.batcher.prefixes.find((*text, 0))
        assert len(found) == len(text) // BLOCK
        if found:
            cells = torch.cat(found)
            past = Past(model)
            with torch.no_grad():
                Reading(past, [text]).go_on()
            wanted, _ = cells_of(past.cache, 0, 0, len(cells))
            assert (cells - wanted).abs().max().item() < 1e-9
            seen += len(cells)
    assert seen > 300


MODEL = tiny.plain()


def summed(tokens: list[int]) -> Any:
    """A past whose every cell holds the sum of all tokens up to it: of its beginning alone."""
    cache = new_cache(MODEL.config)
    sums = torch.tensor(tokens).cumsum(0).float()[None, None, :, None]
    for layer in cache.layers:
        layer.update(sums, -sums)
    return SimpleNamespace(cache=cache, width=len(tokens))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=5), max_size=14))
def test_what_was_used_last_stays(texts: list[list[int]]) -> None:
    """Texts of blocks of two kinds, through a cache of six blocks."""
    prefixes = Prefixes(MODEL, 6 * BLOCK + 5)
    used: list[tuple[int, ...]] = []  # beginnings, those used last in the end
    for text in texts:
        paths = [tuple(text[:count]) for count in range(1, len(text) + 1)]
        tokens = [kind + 1 for kind in text for _ in range(BLOCK)] + [9]
        held = next((n for n, path in enumerate(paths) if path not in used), len(paths))
        found = prefixes.find(tokens)
        assert len(found) == held
        if found:
            sums = torch.tensor(tokens[: held * BLOCK]).cumsum(0)
            assert torch.equal(torch.cat(found)[:, 0], sums.float())
        prefixes.store(summed(tokens), 0, tokens)
        used = [path for path in used if path not in paths] + paths[::-1]
        used = used[-6:]
        assert len(prefixes._blocks) == len(used)


def test_a_beginning_is_found_by_all_that_comes_before() -> None:
    prefixes = Prefixes(MODEL, 1000)
    first, second = [7] * BLOCK + [8] * BLOCK, [9] * BLOCK + [8] * BLOCK
    prefixes.store(summed(first), 0, first)
    assert prefixes.find(second) == []
    assert len(prefixes.find([*first, 1])) == 2
    assert len(prefixes.find(first)) == 1  # the last token's logits are wanted
    assert len(prefixes.find([*first[:20], 1, 2])) == 1
    few = Prefixes(MODEL, BLOCK - 1)
    few.store(summed(first), 0, first)
    assert few.find(first) == []


@pytest.mark.parametrize("make", [tiny.model, gpt2, gemma])
def test_parts_of_a_prompt_add_up(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # C-08. Nothing is kept of a model with sliding windows, but it can read by parts.
    monkeypatch.setattr(batcher, "PREFILL", 5)
    model = make()
    told = Told(model, rows=4, join_every=1, chunk_tokens=5)
    shapes = passes(model)
    requests = asked(9, longest=30)
    rows = []
    for prompt, sampling, seed in requests:
        rows += told.batcher.submit(prompt, sampling, [seed])
        told.batcher.step()
    told.drain()
    parts = [(count, width) for count, width in shapes if width > 1]
    assert max(count * width for count, width in parts) == 5
    for row, (prompt, sampling, seed) in zip(rows, requests, strict=True):
        alone = generate(model, TOKENIZER, [prompt], sampling, seeds=[seed])[0]
        assert row.tokens == alone.tokens
        assert row.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
    assert (told.batcher.prefixes.most == 0) == (make is gemma)


def test_a_long_prompt_stops_nobody_and_is_not_overtaken() -> None:
    model = tiny.model()
    told = Told(model, rows=4, chunk_tokens=16)
    (first,) = told.batcher.submit([7], Sampling(max_new_tokens=60), [0])
    told.batcher.step()
    shapes = passes(model)
    (long,) = told.batcher.submit(ids(200), REPLY, [1])
    (short,) = told.batcher.submit([8], REPLY, [2])
    for _ in range(3):  # others are let in every fourth step
        told.batcher.step()
    begun = len(first.tokens)
    for steps in range(1, 14):
        told.batcher.step()
        assert len(first.tokens) == begun + steps
        assert len(long.tokens) == (steps == 13)  # 200 tokens, 16 at a time
        assert not short.tokens
        assert told.batcher.running == 2
    assert sorted({width for _, width in shapes}) == [1, 8, 16]
    told.batcher.step()  # it was only kept out by what a step may read
    assert len(short.tokens) == 1
    told.drain()
    assert all(told.ended.values())
    assert len(told.ended) == 3


def test_choices_of_a_long_prompt_are_read_once() -> None:
    model = tiny.model()
    told = Told(model, chunk_tokens=32)
    told.batcher.submit([7], REPLY, [0])
    told.batcher.step()
    shapes = passes(model)
    rows = told.batcher.submit(ids(100), REPLY, range(1, 9))
    told.drain()
    assert [shape for shape in shapes if shape[1] > 1] == [(1, 32)] * 3 + [(1, 4)]
    assert [row.known for row in rows] == [0] * 8


def test_a_prompt_is_given_up_while_it_is_read() -> None:
    told = Told(tiny.model(), chunk_tokens=16, join_every=1)
    (first,) = told.batcher.submit([7], REPLY, [0])
    told.batcher.step()
    (long,) = told.batcher.submit(ids(200), REPLY, [1])
    for _ in range(3):
        told.batcher.step()
    (next_,) = told.batcher.submit([8], REPLY, [2])
    told.batcher.cancel([long])
    told.batcher.step()
    assert len(next_.tokens) == 1
    told.drain()
    assert id(long) not in told.ended
    assert len(first.tokens) == len(next_.tokens) == 20
    assert told.batcher.running == 0


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "decoding"])
def test_an_error_ends_what_it_hits_and_no_other(reads: bool) -> None:
    model = tiny.model()
    told = Told(model, chunk_tokens=16, join_every=1)
    (runs,) = told.batcher.submit([7], REPLY, [0])
    told.batcher.step()
    (comes,) = told.batcher.submit(ids(200), REPLY, [1])
    told.batcher.step()

    def fail(module: Any, args: Any, kwargs: Any) -> None:
        if (kwargs["input_ids"].shape[1] > 1) == reads:
            raise MemoryError

    broken = model.register_forward_pre_hook(fail, with_kwargs=True)
    told.batcher.step()
    broken.remove()
    hit, other = (comes, runs) if reads else (runs, comes)
    assert isinstance(told.errors[id(hit)], MemoryError)
    (again,) = told.batcher.submit(list(hit.prompt), REPLY, [1])
    told.drain()
    assert told.errors[id(other)] is None
    assert len(other.tokens) == len(again.tokens) == 20


def test_generate_computes_a_common_beginning_once() -> None:
    model, few = exact(), Sampling(max_new_tokens=6)
    prompts = [ids(50) + ids(1 + number % 9, number) for number in range(20)]
    prompts += prompts[:2]
    alone = [
        generate(model, TOKENIZER, [prompt], few, seeds=[seed])[0]
        for seed, prompt in enumerate(prompts)
    ]
    shapes = passes(model)
    together = generate(model, TOKENIZER, prompts, few, seeds=range(22), batch_size=12)
    assert shapes[:2] == [(1, 48), (12, 11)]
    for one, other in zip(together, alone, strict=True):
        assert one.tokens == other.tokens
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-9)
    shapes.clear()
    generate(model, TOKENIZER, prompts[:10], few, seeds=range(10))
    assert shapes[0] == (10, 59)  # 9 times 48 cells are not worth a pass
