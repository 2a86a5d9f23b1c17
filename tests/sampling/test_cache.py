from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests import tiny
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from burnish.sampling import Sampling, generate
from burnish.sampling.cache import RoomyLayer, SlidingLayer, new_cache

LETTERS = list("abcdefghijklmnopqrstuvwxyz0123456789")
"""Stop strings that one token in six has: replies of very different lengths."""


def cells(*values: float) -> torch.Tensor:
    """Keys of one row and one head, of size 1."""
    return torch.tensor(values)[None, None, :, None]


def row(layer: Any, index: int) -> list[float]:
    return layer.keys[index, 0, :, 0].tolist()


def test_cells_are_added_in_place() -> None:
    layer = RoomyLayer()
    layer.update(cells(1, 2), -cells(1, 2))
    store = layer.stores[0]
    for value in range(3, 35):
        keys, values = layer.update(cells(value), -cells(value))
    assert layer.stores[0] is store  # 2 cells and room for 32
    assert layer.get_seq_length() == 34
    layer.update(cells(35, 36), -cells(35, 36))
    assert layer.stores[0] is not store
    assert row(layer, 0) == [float(value) for value in range(1, 37)]
    assert torch.equal(layer.values, -layer.keys)
    assert keys.shape == values.shape == (1, 1, 34, 1)


def test_rows_are_chosen_and_repeated() -> None:
    layer = RoomyLayer()
    layer.batch_select_indices(torch.tensor([0]))  # nothing yet
    layer.update(torch.cat([cells(1, 2), cells(3, 4)]), torch.zeros(2, 1, 2, 1))
    layer.batch_select_indices(torch.tensor([1, 0, 1]))
    layer.update(torch.cat([cells(5), cells(6), cells(7)]), torch.zeros(3, 1, 1, 1))
    assert [row(layer, index) for index in range(3)] == [[3, 4, 5], [1, 2, 6], [3, 4, 7]]


def gemma(seed: int = 0) -> Any:
    """Sliding windows of 6 tokens in every second layer, as prompts and replies grow past."""
    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, head_dim=8,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=6, initializer_range=0.3,
        layer_types=["sliding_attention", "full_attention"], max_position_embeddings=256,
        query_pre_attn_scalar=8, eos_token_id=2, pad_token_id=0, bos_token_id=1,
    )  # fmt: skip
    return Gemma3ForCausalLM(config).eval()


def test_sliding_windows() -> None:
    model = gemma()
    kinds = [type(layer) for layer in new_cache(model.config).layers]
    assert kinds == [SlidingLayer, RoomyLayer]
    random = np.random.default_rng(0)
    asked = [random.integers(6, 200, random.integers(1, 14)).tolist() for _ in range(30)]
    settings = Sampling(max_new_tokens=14, stop=LETTERS)

    def sample(prompts: list[list[int]], seeds: list[int], size: int) -> list[Any]:
        return generate(model, tiny.tokenizer(), prompts, settings, seeds=seeds, batch_size=size)

    together = sample(asked, list(range(30)), 8)
    alone = [sample([prompt], [seed], 1)[0] for seed, prompt in enumerate(asked)]
    same = [(a, b) for a, b in zip(together, alone, strict=True) if a.tokens == b.tokens]
    assert len(same) >= 29
    assert len({len(reply.tokens) for reply in alone}) > 3
    for first, second in same:
        assert first.logprobs == pytest.approx(second.logprobs, abs=1e-4)


def test_no_cell_is_memory_as_found() -> None:
    # 0 x NaN is NaN, also behind a mask. In this mode torch fills fresh memory with NaN.
    asked = [[7] * 40, [8, 9], [10], [11] * 5]
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        assert torch.empty(3).isnan().all()
        replies = generate(
            tiny.model(), tiny.tokenizer(), asked, Sampling(max_new_tokens=45),
            seeds=list(range(4)), batch_size=2,
        )  # fmt: skip
    finally:
        torch.use_deterministic_algorithms(was)
    assert all(np.isfinite(reply.logprobs).all() for reply in replies)
